"""Tests of raglift.corpus."""
