"""Mounts of the campaign's own, see `__main__`."""

import subprocess
from pathlib import Path


def mount(*words: object) -> None:
    """Mount, with the words of mount(8)."""
    subprocess.run(["mount", *map(str, words)], check=True)


def unmount(path: Path, *, mounted: bool = True) -> None:
    """Take away what is mounted there; `mounted`: something surely is."""
    subprocess.run(["umount", "--lazy", str(path)], check=mounted, stderr=None if mounted else subprocess.DEVNULL)
