"""Tests of raglift.assess."""
