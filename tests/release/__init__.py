"""Tests of raglift.release."""
