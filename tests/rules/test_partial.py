"""Partial files of other programs, and directories that need not be walked."""

from typing import Any

import pytest

from rules.complete import complete
from rules.match import match, pruned
from rules.model import Candidate, Verdict, Writer
from rules.rule import Conditions, Rule
from tests import configured

PARTIAL = [
    ".nfs00000000014a2c4b00000003", ".fuse_hidden0000000100000001", "scan.h5.part", "scan.h5.partial", "scan.h5.filepart",
    "scan.zip.crdownload", "scan.TMP", ".scan.h5.swp", ".~lock.notes.odt#", "~$notes.docx", "Thumbs.db", "thumbs.db",
    ".DS_Store", "._scan.h5", "desktop.ini",
]  # fmt: skip
DATA = [
    ".nfs", "part", "scan.part1.rar", "tmp", ".tmp", "scan.tmp/x.h5", "scan.partly", "~scan", "._", ".scan.000123", "scan.swp2",
]  # fmt: skip


def made(**table: Any) -> Rule:
    """A rule of a configuration."""
    return configured.rule({"name": "r", "watch": "/data", "deliver": [{"to": "share"}], **table})


@pytest.mark.parametrize("name", PARTIAL)
def test_partial_files_are_left_out(name: str) -> None:
    """Unless the rule takes them; a directory of such a name is a directory."""
    found = match([made()], f"/data/run/{name}")
    assert (found.rule, found.reason, found.excluded, found.partial) == (
        None, "rule 'r' skips partial files of other programs", True, True,
    )  # fmt: skip
    assert match([made(skip_partial=False)], f"/data/run/{name}").rule is not None
    assert match([made()], f"/data/{name}/scan.h5").rule is not None


@pytest.mark.parametrize("name", DATA)
def test_data_is_no_partial_file(name: str) -> None:
    """Only whole names count."""
    assert match([made()], f"/data/{name}").rule is not None


@pytest.mark.parametrize(
    "table",
    [
        {"include": ["*.h5", "*.tmp"]},
        {"include": ["raw/*.tmp"]},
        {"complete": {"marker": "{name}.tmp"}},
        {"complete": {"require": [{"without": "*.tmp"}]}, "dataset": {"dir": "[^/]+"}},
        {"complete": {"require": [{"manifest": "Manifest.tsv"}]}, "dataset": {"dir": "[^/]+"}},
    ],
)
def test_what_a_rule_names_is_never_left_out(table: dict[str, Any]) -> None:
    """By its include, its marker, its conditions, or a list in the data."""
    assert match([made(**table)], "/data/raw/scan.tmp").rule is not None


def test_a_name_as_rsync_gives_it_waits_longer() -> None:
    """Data may have such a name, too; what is written counts."""
    for name in (".scan.h5.a1B2c3", ".scan.000123"):
        candidate = Candidate(name, 1, 0.0, 0.02)
        assert complete(Conditions(), candidate, True, Writer.NONE, 59.0) == Verdict(
            False, "changed less than 1 min ago", 60.0
        )
        assert complete(Conditions(), candidate, True, Writer.NONE, 60.0).ok
        assert complete(Conditions(quiet=1.0), candidate, True, Writer.NONE, 1.0).ok
    assert complete(Conditions(), Candidate("scan.000123", 1, 0.0, 0.02), True, Writer.NONE, 1.0).ok


@pytest.mark.parametrize(
    ("exclude", "directory", "is_pruned"),
    [
        (["lost+found"], "lost+found", True),
        (["lost+found/"], "lost+found", True),
        ([".Trash-*"], "a/.Trash-1000", True),
        (["a/**"], "a/b", True),
        (["*.tmp"], "a", False),
        (["a/*.tmp"], "a", False),
        (["a/[!b]*"], "a", False),
        (["a/", "!a/x.h5"], "a", False),
        ([], "a", False),
    ],
)
def test_a_directory_that_a_rule_excludes_is_not_walked(exclude: list[str], directory: str, is_pruned: bool) -> None:
    """With all that is below, and without exceptions."""
    assert pruned([made(exclude=exclude)], f"/data/{directory}") is is_pruned


def test_a_directory_that_another_rule_wants_is_walked() -> None:
    """Also where that one watches a directory below it."""
    one = made(exclude=["a/"])
    assert pruned([one], "/data/a")
    assert not pruned([one, made(name="other")], "/data/a")
    assert not pruned([one, made(name="other", watch="/data/a/b")], "/data/a")
    assert not pruned([one], "/elsewhere/a")
