"""The oracle itself: it finds nothing where all is well, and finds what was done to a site where it is not."""

import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest

from tests.campaign.instrument import Journal, digest
from tests.campaign.oracle import Findings, Oracle


class Site:
    """Three files: one delivered and still here, one delivered and deleted, one that is written."""

    def __init__(self, root: Path) -> None:
        self.inbox, self.share, self.mirror = root / "inbox", root / "share", root / "mirror"
        for folder in (self.inbox, self.share, self.mirror):
            (folder / "run").mkdir(parents=True)
        self.journal = Journal()
        self.record = root / "deletions.jsonl"
        self.put("run/kept.dat", b"kept", self.inbox, self.share, self.mirror)
        self.put("run/gone.dat", b"gone", self.share, self.mirror)
        self.delete("run/gone.dat", b"gone")
        (self.inbox / "run/growing.dat").write_bytes(b"half a fi")
        self.oracle = Oracle(
            self.journal, self.inbox, {"share": self.share, "mirror": self.mirror}, self.record
        )  # fmt: skip

    def put(self, path: str, content: bytes, *folders: Path) -> None:
        """The instrument wrote it, and it is in these folders."""
        self.journal.wrote(path, content)
        for folder in folders:
            (folder / path).write_bytes(content)

    def delete(self, path: str, content: bytes, name: str | None = None) -> None:
        """A line in the record."""
        copies = [
            {"destination": one, "path": name or path, "checksum": f"sha256:{digest(content)}"}
            for one in ("share", "mirror")
        ]
        with self.record.open("a") as file:
            print(json.dumps({"file": str(self.inbox / path), "copies": copies}), file=file)


def wrong(found: Findings) -> set[str]:
    """The kinds of what was found."""
    return {one.name for one in fields(found) if getattr(found, one.name)}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_where_all_is_well_nothing_is_found(site: Site) -> None:
    """A name of its own for a second file under a reclaimed name, and a file changed in place, are as they should be."""
    site.journal.wrote("run/gone.dat", b"written again")
    for folder in (site.share, site.mirror):
        (folder / "run/gone~2.dat").write_bytes(b"written again")
    site.delete("run/gone.dat", b"written again", "run/gone~2.dat")
    site.journal.over("run/kept.dat")
    site.put("run/kept.dat", b"changed in place", site.inbox, site.share, site.mirror)
    (site.share / ".dropline-destination").write_text("{}")
    assert wrong(site.oracle.glance()) == wrong(site.oracle.judge()) == set()


def test_what_was_put_back_beside_a_newer_file_is_no_second_copy(site: Site) -> None:
    """It travels, and is deleted, by the name that it got here; a former copy of that has the number twice."""
    site.journal.over("run/kept.dat")
    site.put("run/kept.dat", b"newer", site.inbox, site.share, site.mirror)
    for folder in (site.share, site.mirror):
        (folder / "run/kept~2.dat").write_bytes(b"kept")
        (folder / "run/kept~2~2.dat").write_bytes(b"newer")
    (site.inbox / "run/kept~2~2.dat").write_bytes(b"newer")
    site.delete("run/kept~2.dat", b"kept")
    assert wrong(site.oracle.judge()) == set()


HARM: dict[str, tuple[set[str], Callable[[Site], object]]] = {
    "half a file": ({"torn", "kept"}, lambda site: (site.share / "run/kept.dat").write_bytes(b"ke")),
    "a file that is written": ({"torn"}, lambda site: (site.share / "run/growing.dat").write_bytes(b"half a fi")),
    "nobody's file": ({"torn"}, lambda site: (site.share / "run/nobody.dat").write_bytes(b"x")),
    "another file's content": ({"torn"}, lambda site: (site.share / "run/growing.dat").write_bytes(b"kept")),
    "gone here and not there": ({"lost", "overwritten"}, lambda site: (site.mirror / "run/gone.dat").unlink()),
    "removed too early": ({"lost", "unproved"}, lambda site: [
        (folder / "run/kept.dat").rename(folder.parent / f"{folder.name}.dat") for folder in (site.inbox, site.share)
    ]),
    "a copy after its deletion": ({"lost", "overwritten", "torn"}, lambda site: (
        (site.share / "run/gone.dat").write_bytes(b"another")
    )),
    "one version, two names": ({"twice"}, lambda site: (site.share / "run/kept~2.dat").write_bytes(b"kept")),
    "deleted without a word": ({"unproved"}, lambda site: (site.inbox / "run/kept.dat").unlink()),
    "a record of what was never whole": ({"unproved"}, lambda site: site.delete("run/growing.dat", b"half a fi")),
    "somebody else's file": ({"overwritten"}, lambda site: (
        site.journal.foreign.update({("share", "run/theirs.dat"): digest(b"theirs")}),
        (site.share / "run/theirs.dat").write_bytes(b"ours"),
    )),
    "a temporary file": ({"litter"}, lambda site: (site.share / "run/.dropline-ab-1.part").write_bytes(b"")),
    "a file that stands aside": ({"litter"}, lambda site: (site.inbox / "run/.dropline-reclaim-1").write_bytes(b"")),
}  # fmt: skip


@pytest.mark.parametrize("harm", HARM)
def test_what_is_wrong_is_found(site: Site, harm: str) -> None:
    """Each harm by its name, and nothing else."""
    kinds, act = HARM[harm]
    act(site)
    assert wrong(site.oracle.judge()) == kinds


def test_half_a_file_is_found_while_it_is_visible(site: Site) -> None:
    """A look in between finds what would be whole again at the end."""
    (site.share / "run/kept.dat").write_bytes(b"ke")
    assert wrong(site.oracle.glance()) == {"torn"}


def test_what_was_not_delivered_and_is_here_is_kept(site: Site) -> None:
    """No harm, but told."""
    (site.mirror / "run/kept.dat").unlink()
    found = site.oracle.judge()
    assert (wrong(found), found.kept, found.harm) == ({"kept"}, ["run/kept.dat is not at mirror"], [])


def test_an_older_version_under_the_plain_name_is_not_the_latest(site: Site) -> None:
    """A file counts as delivered when its latest version is at every destination, under whatever name."""
    site.journal.wrote("run/gone.dat", b"written again")
    (site.share / "run/gone~2.dat").write_bytes(b"written again")
    assert site.oracle.missing(["run/kept.dat", "run/gone.dat"]) == {"run/gone.dat"}
    (site.mirror / "run/gone~2.dat").write_bytes(b"written again")
    assert site.oracle.missing(["run/kept.dat", "run/gone.dat"]) == set()
