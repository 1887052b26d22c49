"""Tests of raglift."""
