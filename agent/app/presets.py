"""The presets that come with the program: files in rules/presets/, one per instrument family."""

import os
import posixpath
import tomllib
from collections.abc import Iterator
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Any

from agent.host import own_files
from rules.config.config_error import nearest

if TYPE_CHECKING:  # who reads a configuration needs the data alone
    from rules.config.preset import PresetTable


def names() -> list[str]:
    """Their names, in order."""
    inside = own_files.resource_names("rules", "presets")
    return sorted(name.removesuffix(".toml") for name in inside if name.endswith(".toml"))


def text(name: str) -> str:
    """The file of a preset. Raises ValueError, naming the nearest, where there is none."""
    if name not in names():
        raise ValueError(f"there is no preset {name!r}{nearest(name, names())}; `dropline presets` lists them")
    return own_files.resource("rules", "presets", f"{name}.toml").decode()


@cache
def data(name: str) -> dict[str, Any]:
    """A preset as TOML. Raises ValueError, see `text`."""
    return tomllib.loads(text(name))


def table(name: str) -> "PresetTable":
    """A preset, checked. Raises ValueError, see `text`."""
    from rules.config.preset import PresetTable

    return PresetTable.model_validate(data(name))


_LOOKED_AT = 20_000
"""Files of a folder that are looked at to recognise its instrument: a run may have a million."""


def recognised(directory: own_files.StrPath) -> list[str]:
    """Presets for what a folder holds, the best first. A guess, by names alone."""
    from rules.patterns.glob import takes

    found: dict[str, int] = {}
    tables = {name: table(name) for name in names()}
    for relpath in islice(_relpaths(os.fspath(directory)), _LOOKED_AT):
        for name, one in tables.items():
            if takes(one.recognized_by, relpath):
                found[name] = found.get(name, 0) + 1
    if len(found) > 1:
        found.pop("drop-folder", None)
    return sorted(found, key=lambda name: (-found[name], name))


def _relpaths(directory: str) -> Iterator[str]:
    from agent.files import LOCAL
    from agent.intake.scan import sweep

    for listing in sweep(LOCAL, directory):
        for name, _ in listing.seen():
            yield posixpath.relpath(posixpath.join(listing.directory, name), directory)
