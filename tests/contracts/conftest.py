"""What the contracts share."""

from __future__ import annotations

from tests.test_contracts import folders as folders
