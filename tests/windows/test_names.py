"""Names and paths as Windows has them."""

import os
import sys
from pathlib import Path, PurePath

import pytest

from agent.app.configuration import read
from agent.files import LOCAL, CannotTell, Trouble
from rules.config.config_error import RuleError

if sys.platform != "win32":
    pytest.skip("needs Windows; tests/windows/test_lane.py runs it in Wine", allow_module_level=True)

from agent.files.windows import nt


def written(folder: Path, watch: str, second: str = "'E:/other'") -> Path:
    """A configuration with two rules, whose directories are written as they are given, in TOML."""
    path = folder / "dropline.toml"
    path.write_text(
        f"agent.state_dir = 'state'\ndestinations.share.path = '//server/share'\n"
        f"rules = [{{ name = 'one', watch = {watch}, deliver = [{{ to = 'share' }}] }},"
        f" {{ name = 'two', watch = {second}, deliver = [{{ to = 'share' }}] }}]\n"
    )
    return path


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("'D:\\data'", "D:/data"), ('"D:/data"', "D:/data"), ('"d:\\\\data"', "D:/data"),
        ("'\\\\server\\raw'", "//server/raw"), ('"//server/raw/run 1"', "//server/raw/run 1"),
    ],
)  # fmt: skip
def test_a_path_may_be_written_in_each_way(tmp_path: Path, path: str, found: str) -> None:
    """In single quotes with backslashes, or with slashes; a relative one counts from the file."""
    config = read(PurePath(written(tmp_path, path)))
    assert config.rules[0].watch == found
    assert config.settings.agent.state_dir == (tmp_path / "state").as_posix()


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("'D:data'", "is not a whole path; write its drive and root, as in 'D:\\data'"),
        ("'D:\\nul'", "cannot be a path on Windows: 'nul' is a reserved name"),
        ("'D:\\data.'", "cannot be a path on Windows: 'data.' ends with '.'"),
        ('"D:\\data"', "in double quotes a backslash begins an escape: write it in single quotes"),
    ],
)
def test_a_path_in_which_windows_reads_another_is_an_error(tmp_path: Path, path: str, why: str) -> None:
    """It says what to write."""
    with pytest.raises(RuleError) as raised:
        read(PurePath(written(tmp_path, path)))
    assert why in str(raised.value)


@pytest.mark.parametrize("second", ["'d:/DATA'", "'D:/Data/sub'"])
def test_two_rules_spell_one_folder_alike(tmp_path: Path, second: str) -> None:
    """Else each would claim the same files, by names that differ in case alone."""
    with pytest.raises(RuleError, match="differ in case alone, and are one; write them alike"):
        read(PurePath(written(tmp_path, "'D:/data'", second)))
    read(PurePath(written(tmp_path, "'D:/data'", "'D:/data/sub'")))


def test_a_drive_that_is_not_there_says_what_to_write() -> None:
    """A service has no mapped drives: that is what it meets where a person writes a letter."""
    seen = LOCAL.look("Q:/data")
    assert isinstance(seen, CannotTell)
    with pytest.raises(Trouble) as raised:
        LOCAL.tree("Q:/data")
    for reason in (seen.reason, raised.value.reason):
        assert reason.startswith("there is no drive Q: here; ")
        assert reason.endswith("write the path of the share in its place, as in '\\\\server\\share'")


def test_a_name_that_is_no_text_comes_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """NTFS has names with lone surrogates, and the ledger keeps names as bytes."""
    name = "run \ud800.raw"
    (tmp_path / "a").touch()
    real = nt.listed
    monkeypatch.setattr(
        nt, "listed", lambda handle: ([one._replace(name=name) for one in block] for block in real(handle))
    )
    with LOCAL.tree(tmp_path.as_posix()) as tree:
        (listed,) = tree.scan("", 10)
    assert [os.fsdecode(entry[0]) for entry in listed.entries] == [name]
    assert os.fsencode(name) in {entry[0] for entry in listed.entries}
