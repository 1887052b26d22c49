"""Tests of raglift.models."""
