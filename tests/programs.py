"""Real programs that tests drive: a browser, Prometheus, mounts."""

import os
import shutil

import pytest


def program(name: str) -> str:
    """Where the program is. Without it the test is skipped; in CI, which installs all of them, it fails."""
    found = shutil.which(name)
    if found is None:
        message = f"needs {name}, which is not installed"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return found
