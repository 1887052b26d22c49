"""Tests of raglift.serve."""
