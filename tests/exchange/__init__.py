"""Tests of raglift.exchange."""
