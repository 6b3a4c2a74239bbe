"""The presets that come with the program: files in rules/presets/, one per instrument family."""

import os
import tomllib
from functools import cache
from importlib.resources import files as resources
from itertools import islice
from pathlib import Path
from typing import Any

from rules.config.mistake import nearest
from rules.config.preset import PresetTable
from rules.match import takes


def names() -> list[str]:
    """Their names, in order."""
    inside = resources("rules").joinpath("presets").iterdir()
    return sorted(one.name.removesuffix(".toml") for one in inside if one.name.endswith(".toml"))


def text(name: str) -> str:
    """The file of a preset. Raises ValueError, naming the nearest, where there is none."""
    if name not in names():
        raise ValueError(f"there is no preset {name!r}{nearest(name, names())}; `dropline presets` lists them")
    return resources("rules").joinpath("presets", f"{name}.toml").read_text("utf-8")


@cache
def data(name: str) -> dict[str, Any]:
    """A preset as TOML. Raises ValueError, see `text`."""
    return tomllib.loads(text(name))


def table(name: str) -> PresetTable:
    """A preset, checked. Raises ValueError, see `text`."""
    return PresetTable.model_validate(data(name))


_LOOKED_AT = 20_000
"""Files of a folder that are looked at to recognise its instrument: a run may have a million."""


def recognised(directory: Path) -> list[str]:
    """Presets for what a folder holds, the best first. A guess, by names alone."""
    found: dict[str, int] = {}
    tables = {name: table(name) for name in names()}
    paths = islice((os.path.join(at, file) for at, _, files in os.walk(directory) for file in files), _LOOKED_AT)
    for path in paths:
        relpath = os.path.relpath(path, directory).replace(os.sep, "/")
        for name, one in tables.items():
            if takes(one.looks_like, relpath):
                found[name] = found.get(name, 0) + 1
    if len(found) > 1:
        found.pop("drop-folder", None)
    return sorted(found, key=lambda name: (-found[name], name))
