"""`dropline fetch` as a job script meets it: what is at a destination comes here whole, and nothing here is overwritten."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.globus import Globus, faults
from tests.journey.test_globus import Campus

if TYPE_CHECKING:
    from tests.journey.conftest import Site

SUBMIT = "POST /v0.10/transfer"
KEPT = "other content has this name here; move it away, or fetch into another directory"


def at_share(site: Site, **files: bytes) -> None:
    for name, content in files.items():
        path = site.share / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


class FromDirectory:
    """A share."""

    def __init__(self, site: Site) -> None:
        self.site = site

    def fetch(self, *words: str) -> tuple[int, str, str]:
        done = self.site.dropline("fetch", *words)
        return done.code, done.out, done.err


class FromCollection(Campus):
    """A collection."""

    def __init__(self, site: Site, service: Globus) -> None:
        super().__init__(site, service)
        self.source.base = site.root
        self.configure({"client_id": service.account.id, "client_secret": "not-so-secret"})
        site.config.write_text(site.config.read_text().replace(str(site.inbox), str(site.root), 1))
        text = site.config.read_text()
        site.config.write_text(text.replace('"source_root" = ' + f'"{site.inbox}"', f'"source_root" = "{site.root}"'))

    def fetch(self, *words: str) -> tuple[int, str, str]:
        done = self.site.dropline("fetch", *words, "--wait")
        assert "Traceback" not in done.err, done.err
        return done.code, done.out, done.err


@pytest.fixture(params=["directory", "globus"])
def place(request: pytest.FixtureRequest, site: Site) -> Iterator[Any]:
    """Both transports."""
    if request.param == "directory":
        yield FromDirectory(site)
        return
    with Globus(by_itself=True) as service:
        yield FromCollection(site, service)


@pytest.fixture
def campus(site: Site) -> Iterator[FromCollection]:
    """A collection."""
    with Globus(by_itself=True) as service:
        yield FromCollection(site, service)


def test_what_is_there_comes_whole_and_once(place: Any, site: Site) -> None:
    """A folder comes under its own name with times and content; the second time all is here already."""
    at_share(site, run7__a=b"one", run7__sub__b=b"", other=b"not asked for")
    os.utime(site.share / "run7/a", (1_000_000_000, 1_000_000_000))
    assert place.fetch("share:run7", "stage/in")[:2] == (0, "2 files (3 B) were fetched\n")
    here = site.root / "stage/in"
    assert site.tree(here) == {"run7/a": b"one", "run7/sub/b": b""}
    assert (here / "run7/a").stat().st_mtime == 1_000_000_000
    assert place.fetch("share:run7/", "stage/in")[:2] == (0, "0 files (0 B) were fetched, 2 were here already\n")
    assert place.fetch("share:other", "alone")[:2] == (0, "1 files (13 B) were fetched\n")
    assert place.fetch("share:", "all")[:2] == (0, "3 files (16 B) were fetched\n")
    assert site.tree(site.root / "all") == {"run7/a": b"one", "run7/sub/b": b"", "other": b"not asked for"}
    assert os.listdir(here) == ["run7"]


def test_names_that_differ_in_case_only_are_two_files(place: Any, site: Site) -> None:
    """Each comes with its own content, and so do names that differ in Unicode form."""
    content = {"README": b"one", "readme": b"the other", "sub/\u00e9": b"composed", "sub/e\u0301": b"decomposed"}
    at_share(site, **{name.replace("/", "__"): data for name, data in content.items()})
    assert place.fetch("share:", "here")[:2] == (0, "4 files (30 B) were fetched\n")
    assert site.tree(site.root / "here") == content


def test_what_is_here_is_never_overwritten(place: Any, site: Site) -> None:
    """Other content is refused, of another size or of the same; equal content with another time is taken as it is."""
    at_share(site, run7__longer=b"four", run7__same_size=b"abc", run7__equal=b"equal", run7__free=b"free")
    here = site.root / "stage/run7"
    here.mkdir(parents=True)
    mine = {"longer": b"me", "same_size": b"xyz", "equal": b"equal"}
    for name, content in mine.items():
        (here / name).write_bytes(content)
        os.utime(here / name, (1, 1))
    code, said, errors = place.fetch("share:run7", "stage")
    assert (code, said) == (1, "1 files (4 B) were fetched, 1 were here already\n")
    assert [line for line in errors.splitlines() if line.startswith("refused")] == [
        f"refused: run7/longer: {KEPT}", f"refused: run7/same_size: {KEPT}",
    ]  # fmt: skip
    assert site.tree(here) == mine | {"free": b"free"}


def test_what_is_not_there_is_usage(place: Any, site: Site) -> None:
    """Nothing is made at the destination, and the hint tells where to look."""
    at_share(site, a=b"x")
    assert place.fetch("share:nowhere", "stage")[0] == 2
    assert place.fetch("nowhere:a", "stage")[0] == 2
    assert place.fetch("share:../x", "stage")[0] == 2
    assert place.fetch("share:/a", "stage")[0] == 2
    if isinstance(place, FromDirectory):
        assert place.fetch("share:a", "share/sub")[0] == 2
    assert site.delivered == {"a": b"x"}


def test_what_was_sent_comes_back(site: Site) -> None:
    """Send, lose, fetch: the same bytes; the agent's own names at the share stay there."""
    job = site.root / "job"
    job.mkdir()
    (job / "result").write_bytes(b"precious")
    assert site.dropline("send", job, "--to", "share").code == 0
    (job / "result").unlink()
    assert site.dropline("fetch", "share:", ".").code == 0
    assert site.tree(job) == {"result": b"precious"}
    assert not (site.root / ".dropline-destination").exists()


def test_a_share_that_is_away_is_told_and_waited_for(site: Site) -> None:
    """Without its identity file nothing is read from there: it may be the empty mount point."""
    assert site.once() == 0
    at_share(site, a=b"x")
    (site.share / ".dropline-destination").rename(site.root / "kept")
    done = site.dropline("fetch", "share:a", "stage")
    assert (done.code, "the share is not mounted" in done.err) == (1, True)
    process = site.spawn("fetch", "share:a", "stage", "--wait")
    (site.root / "kept").rename(site.share / ".dropline-destination")
    assert process.wait(60) == 0
    assert site.tree(site.root / "stage") == {"a": b"x"}


def test_a_link_at_the_share_is_refused_alone(site: Site) -> None:
    """It is not followed: who knows where it leads."""
    at_share(site, run7__a=b"x")
    (site.share / "run7/passwd").symlink_to("/etc/passwd")
    done = site.dropline("fetch", "share:run7", "stage")
    assert (done.code, done.err) == (1, "refused: run7/passwd: a link, not a file\n")
    assert site.tree(site.root / "stage") == {"run7/a": b"x"}


def test_lost_answers_make_no_second_task(campus: FromCollection, site: Site) -> None:
    """The same request is sent again, whatever else the service answers meanwhile, and whoever goes on."""
    at_share(site, run7__a=b"one", run7__b=b"two")
    service = campus.service
    service.faults.lose_reply(SUBMIT, 2)
    for route in ("GET */submission_id", "GET */task_list", "GET */ls", "GET */successful_transfers"):
        service.faults.answer(route, faults.unavailable(), 1)
    ends = []
    while not ends or "were fetched" not in ends[-1].out:
        ends.append(site.dropline("fetch", "share:run7", "stage"))
    assert (ends[-1].code, ends[-1].out) == (0, "2 files (6 B) were fetched\n")
    assert sum(one.code for one in ends) == 5, "each fault but that of the list of tasks ended one of them"
    assert len(service.tasks.all) == 1
    assert site.tree(site.root / "stage") == {"run7/a": b"one", "run7/b": b"two"}


def test_without_wait_the_same_command_goes_on(campus: FromCollection, site: Site) -> None:
    """The first only hands in; the next ones take up the same task."""
    at_share(site, a=b"x")
    campus.service.faults.hold("*/a")
    for _ in range(2):
        first = site.dropline("fetch", "share:a", "stage")
        assert (first.code, "under way at the service" in first.out) == (0, True)
    late = site.dropline("fetch", "share:a", "stage", "--wait", "--timeout", "500ms")
    assert late.code == 1
    campus.service.faults.clear()
    assert campus.fetch("share:a", "stage")[:2] == (0, "1 files (1 B) were fetched\n")
    assert len(campus.service.tasks.all) == 1


def test_from_another_destination_nothing_is_fetched(campus: FromCollection, site: Site) -> None:
    """A collection that lost its mark is not the one that files were delivered to."""
    at_share(site, a=b"x")
    assert site.dropline("send", "dropline.toml", "--to", "share").code == 0
    (mark,) = site.share.glob(".dropline-destination-*")
    mark.rmdir()
    done = site.dropline("fetch", "share:a", "stage")
    assert (done.code, "is not the destination that was set up" in done.err) == (1, True)
    assert len(campus.service.tasks.all) == 1


@pytest.mark.parametrize("fault", ["misreport", "omit", "missing"])
def test_what_is_not_proved_gets_no_name(campus: FromCollection, site: Site, fault: str) -> None:
    """A checksum that differs, a file that is not told of, one that went away: refused, and the others are here."""
    at_share(site, run7__a=b"one", run7__b=b"two")
    match fault:
        case "misreport":
            campus.service.faults.misreport("*/b")
        case "omit":
            campus.service.faults.omit("*/b")
        case "missing":
            campus.service.faults.file("*/b", "FILE_NOT_FOUND", None)
    code, said, errors = campus.fetch("share:run7", "stage")
    assert (code, said) == (1, "1 files (3 B) were fetched\n")
    assert "refused: run7/b: " in errors
    assert site.tree(site.root / "stage") == {"run7/a": b"one"}
    campus.service.faults.clear()
    assert campus.fetch("share:run7", "stage")[:2] == (0, "1 files (3 B) were fetched, 1 were here already\n")


def test_only_what_the_source_collection_shows_can_be_fetched_to(campus: FromCollection, tmp_path: Path) -> None:
    """Another directory is usage, with the keys to mend."""
    code, _, errors = campus.fetch("share:a", str(tmp_path / "elsewhere"))
    assert (code, "is not below" in errors) == (2, True)
