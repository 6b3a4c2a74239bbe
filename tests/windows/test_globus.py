"""Globus from Windows: where Globus Connect Personal says who it is, and how a collection shows local paths."""

import sys
from pathlib import Path, PurePath
from uuid import uuid4

import pytest

from agent.app.configuration import read
from agent.app.transports import globus_collection_path
from agent.destinations import Item
from agent.destinations.globus.collection_path import local_collection
from rules.config.config_error import RuleError
from rules.config.settings import CollectionTable
from rules.model import FileId, Version

if sys.platform != "win32":
    pytest.skip("needs Windows; tests/windows/test_lane.py runs it in Wine", allow_module_level=True)


def configured(folder: Path, watch: str, root: str) -> CollectionTable:
    """The destination of a configuration; `root`: its `source_root` and `source_path`, in TOML."""
    path = folder / "dropline.toml"
    path.write_text(
        f"destinations.campus = {{ transport = 'globus', collection = '{uuid4()}', source_collection = '{uuid4()}'{root} }}\n"
        f"rules = [{{ name = 'r', watch = {watch}, deliver = [{{ to = 'campus' }}] }}]\n"
    )
    found = read(PurePath(path)).settings.destinations["campus"]
    assert isinstance(found, CollectionTable)
    return found


@pytest.mark.parametrize(
    ("watch", "root", "shown"),
    [
        ("'D:\\data'", "", "/D/data/run 1/a.raw"),
        ("'d:\\data'", ", source_root = '/'", "/D/data/run 1/a.raw"),
        ("'D:\\data'", ", source_root = 'd:\\'", "/data/run 1/a.raw"),
        ("'D:\\data'", ", source_root = 'D:/data', source_path = '/D/data'", "/D/data/run 1/a.raw"),
        ("'\\\\server\\raw'", ", source_root = '//server/raw', source_path = '/R'", "/R/run 1/a.raw"),
    ],
)
def test_a_local_path_is_shown_by_its_drive(tmp_path: Path, watch: str, root: str, shown: str) -> None:
    """As Globus Connect Personal does, whichever slashes and letters it is written with."""
    table = configured(tmp_path, watch, root)
    local = read(PurePath(tmp_path, "dropline.toml")).rules[0].watch
    item = Item(1, local, "run 1/a.raw", Version(1, 0, 0, FileId(1)), "a.raw")
    assert globus_collection_path("campus", table).local(item) == shown


@pytest.mark.parametrize(
    ("watch", "root", "shows"),
    [("'\\\\server\\raw'", "", "/"), ("'D:\\data'", ", source_root = 'C:\\'", "C:/")],
)
def test_what_the_source_collection_does_not_show_is_an_error(
    tmp_path: Path, watch: str, root: str, shows: str
) -> None:
    """A network share without a drive, and another drive."""
    with pytest.raises(RuleError, match=f"which is not below {shows}"):
        configured(tmp_path, watch, root)


def test_globus_connect_personal_says_which_collection_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In its folder of this user; another user, such as that of a service, has none."""
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    assert local_collection() is None
    (tmp_path / "Globus Connect").mkdir()
    (tmp_path / "Globus Connect/client-id.txt").write_text("c7bb1ab0-0000-4000-8000-3b3b3b3b3b3b\n")
    assert local_collection() == "c7bb1ab0-0000-4000-8000-3b3b3b3b3b3b"
    monkeypatch.delenv("LOCALAPPDATA")
    assert local_collection() is None
