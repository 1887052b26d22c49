"""Tests of raglift.training."""
