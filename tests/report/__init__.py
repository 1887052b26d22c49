"""Tests of raglift.report."""
