"""Tests of single strategies, beside the contracts that all keep to."""
