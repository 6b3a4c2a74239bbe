"""What is slow: see README.md."""

from pathlib import Path

import pytest

SLOW = {"campaign", "globus", "journey", "windows"}
"""Folders all of whose tests are slow."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark them."""
    for item in items:
        if SLOW.intersection(item.path.relative_to(Path(__file__).parent).parts):
            item.add_marker("slow")
