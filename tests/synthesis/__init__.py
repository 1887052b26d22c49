"""Tests of raglift.synthesis."""
