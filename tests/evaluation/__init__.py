"""Tests of raglift.evaluation."""
