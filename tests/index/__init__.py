"""Tests of raglift.index."""
