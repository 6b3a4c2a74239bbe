"""The contract of every transport: what `agent.destinations.Transport` promises, checked from outside.

Tests with `site` run over every transport; those with `folder` are about what only a directory has.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from agent.destinations import Arrived, Changed, Gone, Item, NameTaken, Outcome, Reread, Undeliverable
from agent.destinations.directory import writer
from agent.destinations.directory.transport import BULK_FILES, DirectoryTransport
from agent.destinations.directory.writer import probe_name, temporary_name
from agent.errors import Transient
from agent.files import LOCAL, Files, Handle
from rules.model import Content, Observation, Writer
from rules.rate import Limit
from rules.scrub import CopyStatus
from tests.systems import WINDOWS, make_fifo, make_link, needs_leases, needs_modes, open_handles, slashes

if TYPE_CHECKING:
    from tests.contract.conftest import Child, Round, Site

SMALL, LARGE = 5_000, 5 * 2**20
IDENTITY = ".dropline-destination"
AGENT = "a1b2c3d4e5f6"


def still(path: Path) -> tuple[int, ...]:
    """What would differ if the file had been written, replaced or touched."""
    status = os.lstat(path)
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_mode, status.st_nlink


def _seen(path: Path) -> Observation:
    """What a look shows."""
    seen = LOCAL.look(slashes(path))
    assert isinstance(seen, Observation)
    return seen


def until_noticed(path: Path, act: Callable[[Path], object]) -> None:
    """Act again until the clock of the file system has moved on, so that the change can be seen at all."""
    before = _seen(path).version
    while _seen(path).version == before:
        act(path)


# What arrives


@pytest.mark.parametrize("size", [0, 1, SMALL, 2**20, 2**20 + 1, LARGE])
def test_what_arrives_is_what_was_sent(site: Site, size: int) -> None:
    """The copy has the same bytes and mtime, and the evidence is their checksum."""
    content = os.urandom(size)
    path = site.put("run/scan.dat", content)
    mtime_ns = 1_500_000_000_987_654_300 if WINDOWS else 1_500_000_000_987_654_321  # its clock counts in 100 ns
    os.utime(path, ns=(1_600_000_000_123_456_789, mtime_ns))
    result = site.deliver(site.item("run/scan.dat"))
    assert result == ({1: Arrived(1, site.known(content), site.algorithm, adopted=False)}, None)
    assert site.tree() == {"run/scan.dat": content}
    grain = 10**9 if site.transport.is_service else 1
    assert (site.place / "run/scan.dat").stat().st_mtime_ns // grain == mtime_ns // grain
    assert path.stat().st_mtime_ns == mtime_ns


def test_a_thousand_files_arrive_whole(site: Site) -> None:
    """A batch of many small files arrives completely, each with its own outcome."""
    count = 100 if WINDOWS else 1000  # Wine does about thirty a second
    contents = {f"run/{number % 7}/{number:04}.dat": b"%d" % number * (number % 50) for number in range(count)}
    for name, content in contents.items():
        site.put(name, content)
    result = site.deliver(*(site.item(name, number) for number, name in enumerate(contents)))
    expected = {
        number: Arrived(number, site.known(content), site.algorithm, adopted=False)
        for number, content in enumerate(contents.values())
    }
    assert result == (expected, None)
    assert site.tree() == contents


@pytest.mark.parametrize("count", [3, 40])
def test_names_travel_byte_for_byte(folder: Site, count: int) -> None:
    """Spaces, newlines, emoji, 255 bytes and bytes that are no UTF-8 arrive exactly as they are."""
    if WINDOWS:
        pytest.skip("such names are POSIX's; tests/windows has the same of Windows' names")
    names = [
        b"a b",
        b"line\nbreak",
        "\N{MICROSCOPE} größe".encode(),
        b"x" * 255,
        b"\xff\xfe latin \xe9",
        b"-rf",
        b"back\\slash",
        b"e\xcc\x81",
        b"\xc3\xa9",
        b"tab\t",
        b"~",
    ]
    names += [b"%d" % number for number in range(count)]
    for name in names:
        folder.put(b"\xfeodd dir\n/" + name, name)
    items = [folder.item(b"\xfeodd dir\n/" + name, number) for number, name in enumerate(names)]
    result = folder.deliver(*items)
    assert [type(outcome) for outcome in result.outcomes.values()] == [Arrived] * len(names)
    directory = os.fsencode(folder.place) + b"/\xfeodd dir\n"
    assert {name: Path(os.fsdecode(directory + b"/" + name)).read_bytes() for name in os.listdir(directory)} == {
        name: name for name in names
    }


@pytest.mark.parametrize("size", [SMALL, 24 * 2**20])
def test_a_name_appears_only_when_its_content_is_whole(folder: Site, size: int) -> None:
    """Whoever looks at the destination all the time sees nothing under the name, or the whole file."""
    content = os.urandom(2**10) * (size // 2**10)
    folder.put("big.dat", content)
    seen: list[int] = []
    looking, arrived = threading.Event(), threading.Event()

    def look() -> None:
        while not arrived.is_set():
            seen.extend(entry.stat().st_size for entry in os.scandir(folder.place) if entry.name == "big.dat")
            looking.set()

    watcher = threading.Thread(target=look)
    watcher.start()
    assert looking.wait(30.0)
    result = folder.deliver(folder.item("big.dat"))
    arrived.set()
    watcher.join()
    assert result == ({1: Arrived(1, folder.known(content), folder.algorithm, adopted=False)}, None)
    assert set(seen) <= {len(content)}
    assert folder.tree() == {"big.dat": content}


def test_an_empty_batch_ends_at_once(site: Site) -> None:
    """A request without files is a task that ends well."""
    assert site.deliver() == ({}, None)


# Sending again


@pytest.mark.parametrize("size", [0, SMALL, LARGE])
def test_the_same_request_again_adopts(folder: Site, size: int) -> None:
    """Sending the very same request again writes nothing, and says what is there."""
    content = os.urandom(size)
    folder.put("scan.dat", content)
    item = folder.item("scan.dat")
    request = folder.transport.prepare(1, "r", [item], folder.identity).request
    assert folder.send(request, item) == (
        {1: Arrived(1, folder.known(content), folder.algorithm, adopted=False)},
        None,
    )
    before = still(folder.place / "scan.dat")
    assert folder.send(request, item) == (
        {1: Arrived(1, folder.known(content), folder.algorithm, adopted=True)},
        None,
    )
    assert still(folder.place / "scan.dat") == before


def test_content_that_somebody_else_put_there_is_adopted(site: Site) -> None:
    """With an empty ledger the agent adopts equal content, whoever wrote it."""
    path = site.put("scan.dat", b"same")
    copy = site.place / "scan.dat"
    copy.write_bytes(b"same")
    os.utime(copy, ns=(0, path.stat().st_mtime_ns))
    before, item = still(copy), site.item("scan.dat")
    assert site.deliver(item) == ({1: site.adopted(item)}, None)
    assert still(copy) == before


# Sources that are not what was sealed


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def another_of_its_size(path: Path) -> None:
    status = path.stat()
    other = path.with_name("other")
    other.write_bytes(b"x" * status.st_size)
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    os.replace(other, path)


def a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def a_link_to_the_same(path: Path) -> None:
    path.rename(path.with_name("moved"))
    make_link(path, "moved")


def a_fifo(path: Path) -> None:
    path.unlink()
    make_fifo(path)


CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "grown": (grow, "it changed before it was delivered"),
    "truncated": (lambda path: os.truncate(path, 10), "it changed before it was delivered"),
    "rewritten": (lambda path: path.write_bytes(b"y" * path.stat().st_size), "it changed before it was delivered"),
    "mtime set back": (
        lambda path: (path.write_bytes(b"y" * SMALL), os.utime(path, ns=(1, 1_500_000_000_000_000_000))),
        "it changed before it was delivered",
    ),
    "replaced": (another_of_its_size, "it changed before it was delivered"),
    "directory": (a_directory, "a directory stands in its place"),
    "link": (a_link_to_the_same, "a link stands in its place"),
    "FIFO": (a_fifo, "a FIFO stands in its place"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_source_is_not_delivered(site: Site, change: str) -> None:
    """What is not the sealed version any more is reported as it is now, and leaves nothing at the destination."""
    act, reason = CHANGES[change]
    path = site.put("scan.dat", b"x" * SMALL)
    os.utime(path, ns=(1, 1_500_000_000_000_000_000))
    site.put("good.dat", b"good")
    items = site.item("scan.dat", 1), site.item("good.dat", 2)
    if change in ("directory", "link", "FIFO", "replaced"):
        act(path)
    else:
        until_noticed(path, act)
    now = _seen(path)
    expected = {
        1: Changed(1, now, reason),
        2: Arrived(2, site.known(b"good"), site.algorithm, adopted=False),
    }
    assert site.deliver(*items) == (expected, None)
    assert site.tree() == {"good.dat": b"good"}


def test_a_missing_source_is_gone(site: Site) -> None:
    """Where nothing stands at the source, alone or with its directory, the file is gone and the others arrive."""
    site.put("scan.dat", b"x")
    site.put("run/scan.dat", b"x")
    site.put("good.dat", b"good")
    items = site.item("scan.dat", 1), site.item("run/scan.dat", 2), site.item("good.dat", 3)
    (site.source / "scan.dat").unlink()
    shutil.rmtree(site.source / "run")
    expected = {1: Gone(1), 2: Gone(2), 3: Arrived(3, site.known(b"good"), site.algorithm, adopted=False)}
    assert site.deliver(*items) == (expected, None)
    assert site.tree() == {"good.dat": b"good"}


def test_a_file_with_a_writer_is_not_delivered(site: Site, writer: Callable[[Path], subprocess.Popen[bytes]]) -> None:
    """A file that another process has open for writing is not delivered, though it looks unchanged, until it is closed."""
    path = site.put("scan.dat", b"x" * SMALL)
    item = site.item("scan.dat")
    process = writer(path)
    assert site.deliver(item) == ({1: Changed(1, _seen(path), Writer.OPEN.value)}, None)
    assert site.tree() == {}
    process.communicate()
    result = site.deliver(item)
    assert result == ({1: Arrived(1, site.known(b"x" * SMALL), site.algorithm, adopted=False)}, None)


def test_equal_content_with_a_writer_is_not_adopted(
    site: Site, writer: Callable[[Path], subprocess.Popen[bytes]]
) -> None:
    """A writer may be about to change a file whose content is at the destination already: it proves nothing."""
    path = site.put("scan.dat", b"same")
    (site.place / "scan.dat").write_bytes(b"same")
    item = site.item("scan.dat")
    writer(path)
    assert site.deliver(item) == ({1: Changed(1, _seen(path), Writer.OPEN.value)}, None)


@needs_leases
def test_a_source_that_a_file_server_holds_is_not_a_case_for_a_person(site: Site) -> None:
    """A write lease (a Samba client that has the file open) counts as a writer: tried again, not refused."""
    import fcntl

    path = site.put("scan.dat", b"x")
    item = site.item("scan.dat")
    fd = os.open(path, os.O_RDONLY)
    try:
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        assert site.deliver(item) == ({1: Changed(1, _seen(path), Writer.OPEN.value)}, None)
    finally:
        os.close(fd)
    assert site.deliver(item).outcomes == {1: Arrived(1, site.known(b"x"), site.algorithm, adopted=False)}


def test_a_linked_directory_at_the_source_is_never_followed(site: Site, tmp_path: Path) -> None:
    """A directory on the way to the source that became a link is not followed, though the very same file is behind it."""
    site.put("run/scan.dat", b"secret")
    site.put("good.dat", b"good")
    items = site.item("run/scan.dat", 1), site.item("good.dat", 2)
    (site.source / "run").rename(tmp_path / "elsewhere")
    make_link(site.source / "run", tmp_path / "elsewhere")
    outcomes, failure = site.deliver(*items)
    assert failure is None
    assert isinstance(outcomes[1], Undeliverable)
    assert outcomes[2] == Arrived(2, site.known(b"good"), site.algorithm, adopted=False)
    assert site.tree() == {"good.dat": b"good"}


# Names that are taken


@pytest.mark.parametrize("there", [b"theirs", b"x" * SMALL, b""])
def test_other_content_is_not_touched(site: Site, there: bytes) -> None:
    """Where other content has the name, its size is told, its checksum where that is the version's, and nothing changes."""
    site.put("scan.dat", b"y" * SMALL)
    site.put("good.dat", b"good")
    (site.place / "scan.dat").write_bytes(there)
    os.utime(site.place / "scan.dat", ns=(0, 10**18))
    before, wanted = still(site.place / "scan.dat"), site.item("scan.dat", 1)
    result = site.deliver(wanted, site.item("good.dat", 2))
    expected = {
        1: site.occupied(wanted, site.content("scan.dat")),
        2: Arrived(2, site.known(b"good"), site.algorithm, adopted=False),
    }
    assert result == (expected, None)
    assert site.tree() == {"scan.dat": there, "good.dat": b"good"}
    assert still(site.place / "scan.dat") == before


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_replaces_permits_exactly_that_content(site: Site, size: int) -> None:
    """`replaces` lets that content be replaced, and no other, whether or not that is of another size."""
    new = os.urandom(size)
    site.put("scan.dat", new)
    copy = site.place / "scan.dat"
    copy.write_bytes(b"old")
    before, old = still(copy), site.content("scan.dat")
    for replaces in (site.known(b"other"), old._replace(size=4)):
        other = site.item("scan.dat", replaces=replaces)
        assert site.deliver(other) == ({1: site.occupied(other, old)}, None)
    assert site.deliver(site.item("scan.dat", replaces=site.known(b"new"))) == ({1: NameTaken(1, *old[::-1])}, None)
    assert still(copy) == before
    right = site.item("scan.dat", replaces=old)
    assert site.deliver(right) == ({1: Arrived(1, site.known(new), site.algorithm, adopted=False)}, None)
    assert site.tree() == {"scan.dat": new}
    assert site.deliver(right) == ({1: site.adopted(right)}, None)


@pytest.mark.parametrize("rewritten", [False, True])
@pytest.mark.parametrize("later", [b"old, and more", b"new, another one", b"ne"])
def test_a_former_copy_has_another_name_before_its_own_is_given_away(site: Site, later: bytes, rewritten: bool) -> None:
    """Where a file does not go on from it: by its first bytes, where they are read, or as the item says. Onto nothing."""
    site.put("scan.dat", b"old")
    assert site.deliver(site.item("scan.dat")).failure is None
    old = site.content("scan.dat")
    site.put("scan.dat", later)
    item = site.item("scan.dat", 2, replaces=old)._replace(aside="scan~1.dat", rewritten=rewritten)
    goes_on = not site.transport.is_service and not rewritten and later.startswith(b"old")
    if not goes_on:
        (site.place / "scan~1.dat").write_bytes(b"theirs")
        outcome = site.deliver(item).outcomes[2]
        assert isinstance(outcome, Undeliverable)
        assert "'scan~1.dat'" in outcome.reason
        assert site.tree() == {"scan.dat": b"old", "scan~1.dat": b"theirs"}
        (site.place / "scan~1.dat").unlink()
    arrived = Arrived(2, site.known(later), site.algorithm, adopted=False, aside=not goes_on)
    assert site.deliver(item) == ({2: arrived}, None)
    assert site.tree() == {"scan.dat": later} | ({} if goes_on else {"scan~1.dat": b"old"})


def test_what_a_killed_attempt_staged_goes_when_the_name_is_taken(folder: Site) -> None:
    """A file whose name other content took meanwhile leaves nothing of an earlier attempt beside it."""
    folder.put("scan.dat", b"ours")
    (folder.place / "scan.dat").write_bytes(b"theirs")
    (folder.place / temporary_name(AGENT, 1)).write_bytes(b"ou")
    assert folder.deliver(folder.item("scan.dat")) == ({1: NameTaken(1, 6, None)}, None)
    assert folder.tree() == {"scan.dat": b"theirs"}


def test_content_of_another_size_is_not_read(folder: Site) -> None:
    """What has the name and cannot be the version is other content at once, however many bytes it has."""
    folder.put("scan.dat", b"ours")
    folder.put("good.dat", b"good")
    with open(folder.place / "scan.dat", "wb") as file:
        file.truncate(2**43)
    result = folder.deliver(folder.item("scan.dat", replaces=folder.known(b"old")), folder.item("good.dat", 2))
    good = Arrived(2, folder.known(b"good"), folder.algorithm, adopted=False)
    assert result == ({1: NameTaken(1, 2**43, None), 2: good}, None)


def test_what_may_be_replaced_may_be_gone(site: Site) -> None:
    """A copy that may be replaced but is not there any more is simply written."""
    site.put("scan.dat", b"new")
    result = site.deliver(site.item("scan.dat", replaces=site.known(b"old")))
    assert result == ({1: Arrived(1, site.known(b"new"), site.algorithm, adopted=False)}, None)
    assert site.tree() == {"scan.dat": b"new"}


@pytest.mark.parametrize("there", ["directory", "link", "FIFO"])
def test_what_is_not_a_file_is_not_touched(site: Site, tmp_path: Path, there: str) -> None:
    """A directory, link or FIFO that has the name is left alone, and a person is told."""
    (tmp_path / "elsewhere").write_bytes(b"x")
    copy = site.place / "scan.dat"
    if there == "directory":
        copy.mkdir()
    elif there == "link":
        make_link(copy, tmp_path / "elsewhere")
    else:
        make_fifo(copy)
    before = still(copy)
    site.put("scan.dat", b"x")
    site.put("good.dat", b"good")
    outcomes, failure = site.deliver(site.item("scan.dat", 1), site.item("good.dat", 2))
    assert failure is None
    assert isinstance(outcomes[1], Undeliverable)
    assert outcomes[2] == Arrived(2, site.known(b"good"), site.algorithm, adopted=False)
    assert still(copy) == before
    assert (tmp_path / "elsewhere").read_bytes() == b"x"


@pytest.mark.parametrize("path", ["p" * 256, "prefix-" + "n" * 255, "p" * 256 + "/scan.dat", "taken/scan.dat"])
def test_a_name_that_cannot_be_there_concerns_one_file(site: Site, path: str) -> None:
    """A name that is too long at the destination, or below a file, is unfit alone: the others arrive."""
    (site.place / "taken").write_bytes(b"a file")
    for name in ("one", "two", "three"):
        site.put(name, name.encode())
    outcomes, failure = site.deliver(site.item("one", 1), site.item("two", 2, path), site.item("three", 3))
    assert failure is None
    assert isinstance(outcomes[2], Undeliverable)
    assert path in outcomes[2].reason
    assert {1: outcomes[1], 3: outcomes[3]} == {
        1: Arrived(1, site.known(b"one"), site.algorithm, adopted=False),
        3: Arrived(3, site.known(b"three"), site.algorithm, adopted=False),
    }
    assert site.tree() == {"taken": b"a file", "one": b"one", "three": b"three"}
    site.transport.discard([(2, path)])  # what never could be staged is no trouble later


def test_a_linked_directory_at_the_destination_is_never_followed(site: Site, tmp_path: Path) -> None:
    """Nothing is written through a link inside the destination; the files beside it arrive."""
    (tmp_path / "elsewhere").mkdir()
    make_link(site.place / "sub", tmp_path / "elsewhere")
    site.put("sub/scan.dat", b"x")
    site.put("sub/deeper/scan.dat", b"x")
    site.put("good.dat", b"good")
    outcomes, failure = site.deliver(
        site.item("sub/scan.dat", 1), site.item("sub/deeper/scan.dat", 2), site.item("good.dat", 3)
    )
    assert failure is None
    assert isinstance(outcomes[1], Undeliverable)
    assert isinstance(outcomes[2], Undeliverable)
    assert outcomes[3] == Arrived(3, site.known(b"good"), site.algorithm, adopted=False)
    assert list((tmp_path / "elsewhere").iterdir()) == []
    site.transport.discard([(1, "sub/scan.dat")])


# The destination itself


def spoil(place: Path, how: str) -> None:
    match how:
        case "no identity":
            (place / IDENTITY).unlink()
        case "another identity":
            (place / IDENTITY).write_text('{"dropline_destination": "another"}')
        case "damaged identity":
            (place / IDENTITY).write_text("[]")
        case "empty identity":
            (place / IDENTITY).write_text("")
        case "identity is a link":
            (place / IDENTITY).rename(place.with_name("identity"))
            make_link(place / IDENTITY, place.with_name("identity"))
        case "identity is a FIFO":
            (place / IDENTITY).unlink()
            make_fifo(place / IDENTITY)
        case "no directory":
            place.rename(place.with_name("unplugged"))


SPOILED = [
    "no identity",
    "another identity",
    "damaged identity",
    "empty identity",
    "identity is a link",
    "identity is a FIFO",
    "no directory",
]


@pytest.mark.parametrize("how", SPOILED)
def test_nothing_is_written_into_a_hole(folder: Site, how: str) -> None:
    """A destination that is absent, or not the one that was set up, fails with its reason; nothing is written there."""
    folder.put("run/scan.dat", b"x")
    folder.put("big.dat", b"x" * LARGE)
    items = folder.item("run/scan.dat", 1), folder.item("big.dat", 2)
    spoil(folder.place, how)
    before = set(folder.place.iterdir()) if folder.place.exists() else set()
    with pytest.raises(Transient, match=slashes(folder.place)):
        folder.transport.check(folder.identity)
    outcomes, failure = folder.deliver(*items)
    assert outcomes == {}
    assert failure is not None
    assert slashes(folder.place) in failure
    assert (set(folder.place.iterdir()) if folder.place.exists() else set()) == before
    with pytest.raises(Transient, match=slashes(folder.place)):
        folder.transport.confirm(
            "run/scan.dat", items[0].version, folder.checksum(b"x"), folder.algorithm, folder.identity
        )


@pytest.mark.parametrize(
    "text",
    [
        "[" * 4096, "9" * 4096, '"' + "x" * 5000, "[]", "{}", '{"dropline_destination": null}', '{"dropline_destination": ["x"]}',
        '{"dropline_destination": "\\ud800"}', '{"dropline_destination": "a\\nb"}', '{"dropline_destination": 1}', "\0", "\x7f",
    ],
    ids=range(12),
)  # fmt: skip
def test_an_identity_file_may_say_anything(folder: Site, text: str) -> None:
    """Nesting that no parser follows, numbers without end, half a character: the destination is down, with the reason."""
    (folder.place / IDENTITY).write_text(text)
    with pytest.raises(Transient, match=rf"{IDENTITY} is not an identity file of Dropline; restore it$"):
        folder.transport.check(folder.identity)


def test_a_destination_that_comes_back_is_delivered_to(site: Site) -> None:
    """What failed while the destination was away arrives once it is back."""
    site.put("scan.dat", b"x")
    item = site.item("scan.dat")
    spoil(site.place, "no directory")
    assert site.deliver(item).failure is not None
    site.place.with_name("unplugged").rename(site.place)
    site.transport.check(site.identity)
    assert site.deliver(item) == ({1: Arrived(1, site.known(b"x"), site.algorithm, adopted=False)}, None)


def test_a_destination_is_set_up_once(folder: Site) -> None:
    """Setting up again finds the same identity, and leaves one file of the agent's."""
    assert folder.transport.set_up() == folder.identity
    folder.transport.check(folder.identity)
    assert os.listdir(folder.place) == [IDENTITY]


def test_a_directory_that_is_not_there_is_not_set_up(site: Site) -> None:
    """Setting up never makes the directory itself: it may be a share that is not mounted."""
    spoil(site.place, "no directory")
    with pytest.raises(Transient, match=site.transport.address):
        site.transport.set_up()
    assert not site.place.exists()


def test_agents_that_set_up_at_once_agree(folder: Site) -> None:
    """Many agents that set up one directory at the same moment take the same identity, and leave nothing else."""
    (folder.place / IDENTITY).unlink()
    start = threading.Barrier(8)
    found: list[str] = []

    def set_up(number: int) -> None:
        one = DirectoryTransport("share", slashes(folder.place), "checksum", "sha256", f"agent{number}", lambda: None)
        start.wait()
        found.append(one.set_up())
        one.close()

    threads = [threading.Thread(target=set_up, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1
    assert os.listdir(folder.place) == [IDENTITY]


# Asked again


def test_confirm_knows_a_true_copy(site: Site) -> None:
    """A copy that still has its content is confirmed."""
    for name, content in (("run/scan.dat", b"x" * SMALL), ("empty", b"")):
        site.put(name, content)
        site.deliver(site.item(name))
        version = site.item(name).version
        verdict = site.transport.confirm(name, version, site.checksum(content), site.algorithm, site.identity)
        assert (verdict.ok, name in verdict.reason) == (True, True)


def flip(path: Path) -> None:
    """One bit differs, nothing else that a stat shows."""
    status = path.stat()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


DAMAGE: dict[str, Callable[[Path], object]] = {
    "missing": Path.unlink,
    "missing with its directory": lambda path: shutil.rmtree(path.parent),
    "flipped bit": flip,
    "truncated": lambda path: os.truncate(path, SMALL - 1),
    "grown": grow,
    "a directory": a_directory,
    "a link": a_link_to_the_same,
    "a FIFO": a_fifo,
    "its directory is a file": lambda path: (shutil.rmtree(path.parent), path.parent.write_bytes(b"")),
    "its directory is a link": lambda path: (
        path.parent.rename(path.parent.with_name("moved")),
        make_link(path.parent, "moved"),
    ),
}


UNSEEN_FROM_AFAR = ("flipped bit", "its directory is a link")
"""What size, mtime and kind do not show."""


@pytest.mark.parametrize("damage", [name for name in DAMAGE if name not in UNSEEN_FROM_AFAR])
def test_confirm_knows_a_copy_that_is_not_what_was_delivered(site: Site, damage: str) -> None:
    """A copy that is missing, cut, grown, changed in one bit or not a file any more is not confirmed."""
    site.put("run/scan.dat", b"x" * SMALL)
    site.deliver(site.item("run/scan.dat"))
    version, checksum = site.item("run/scan.dat").version, site.checksum(b"x" * SMALL)
    DAMAGE[damage](site.place / "run/scan.dat")
    verdict = site.transport.confirm("run/scan.dat", version, checksum, site.algorithm, site.identity)
    assert (verdict.ok, "run/scan.dat" in verdict.reason) == (False, True)


@pytest.mark.parametrize("damage", UNSEEN_FROM_AFAR)
def test_confirm_reads_the_copy(folder: Site, damage: str) -> None:
    """Where the agent itself reaches the copy, one changed bit and a linked directory are noticed, too."""
    test_confirm_knows_a_copy_that_is_not_what_was_delivered(folder, damage)


STATUSES = {
    "missing": CopyStatus.MISSING,
    "missing with its directory": CopyStatus.MISSING,
    "its directory is a file": CopyStatus.MISSING,
}
"""Damages that leave nothing; all others leave something else."""


def reread(site: Site, name: str, content: bytes, told: list[int] | None = None) -> Reread:
    """Look at the copy of what stands at the source."""
    version = site.item(name).version
    tell = ([] if told is None else told).append
    return site.transport.reread(name, version, site.checksum(content), site.algorithm, site.identity, tell)


@pytest.mark.parametrize("size", [0, SMALL, 3 * 2**20])
def test_a_true_copy_is_seen_as_one(site: Site, size: int) -> None:
    """Where its bytes can be read they are, all of them; elsewhere it is said that only size and mtime were compared."""
    content, told = os.urandom(size), list[int]()
    site.put("run/scan.dat", content)
    site.deliver(site.item("run/scan.dat"))
    before = still(site.place / "run/scan.dat")
    found = reread(site, "run/scan.dat", content, told)
    assert found.copy_status is (CopyStatus.STAT if site.transport.is_service else CopyStatus.GOOD)
    assert sum(told) == (0 if site.transport.is_service else size)
    assert found.cost >= size
    assert still(site.place / "run/scan.dat") == before


@pytest.mark.parametrize("damage", [name for name in DAMAGE if name not in UNSEEN_FROM_AFAR])
def test_what_is_amiss_with_a_copy_is_told_apart(site: Site, damage: str) -> None:
    """Nothing there is missing; anything else there is changed. What stands there is not touched."""
    site.put("run/scan.dat", b"x" * SMALL)
    site.deliver(site.item("run/scan.dat"))
    DAMAGE[damage](site.place / "run/scan.dat")
    found = reread(site, "run/scan.dat", b"x" * SMALL)
    assert (found.copy_status, "run/scan.dat" in found.reason) == (STATUSES.get(damage, CopyStatus.CHANGED), True)


def test_another_mtime_alone_is_a_doubt_at_most(site: Site) -> None:
    """Where the content can be read, times do not matter; elsewhere it is said, and is no proof of other content."""
    site.put("scan.dat", b"x")
    site.deliver(site.item("scan.dat"))
    os.utime(site.place / "scan.dat", (1_400_000_000, 1_400_000_000))
    assert reread(site, "scan.dat", b"x").copy_status is (
        CopyStatus.DOUBTFUL if site.transport.is_service else CopyStatus.GOOD
    )


def test_a_changed_bit_is_read_twice_before_it_is_believed(folder: Site) -> None:
    """Size and mtime are as before, and only reading tells; `verify = "size"` does not spare it."""
    folder.put("scan.dat", b"x" * SMALL)
    folder.deliver(folder.item("scan.dat"))
    flip(folder.place / "scan.dat")
    version, told = folder.item("scan.dat").version, list[int]()
    by_size = DirectoryTransport("share", slashes(folder.place), "size", "sha256", AGENT, lambda: None)
    found = by_size.reread("scan.dat", version, folder.checksum(b"x" * SMALL), "sha256", folder.identity, told.append)
    assert found == (CopyStatus.CHANGED, "at share, 'scan.dat' has other content than was delivered", 2 * SMALL)
    assert sum(told) == 2 * SMALL
    by_size.close()


@pytest.mark.parametrize("verify", ["size", "checksum"])
@pytest.mark.parametrize("kind", ["a directory", "a FIFO"])
def test_what_has_the_size_of_the_copy_but_is_no_file_is_no_copy(
    folder: Site, tmp_path: Path, kind: str, verify: str
) -> None:
    """Though nothing but the size is asked for."""
    (make_fifo if kind == "a FIFO" else Path.mkdir)(tmp_path / "sample")
    content = b"x" * (tmp_path / "sample").lstat().st_size
    folder.put("scan.dat", content)
    folder.deliver(folder.item("scan.dat"))
    copy = folder.place / "scan.dat"
    copy.unlink()
    (tmp_path / "sample").rename(copy)
    asked = DirectoryTransport("share", slashes(folder.place), verify, "sha256", AGENT, lambda: None)
    try:
        version = folder.item("scan.dat").version
        verdict = asked.confirm("scan.dat", version, folder.checksum(content), "sha256", folder.identity)
    finally:
        asked.close()
    assert (copy.lstat().st_size, verdict.ok) == (len(content), False)
    assert "is not a file any more" in verdict.reason


def test_a_destination_that_is_away_says_nothing_of_its_copies(site: Site) -> None:
    """Without the identity nothing is judged, whatever stands there."""
    site.put("scan.dat", b"x")
    site.deliver(site.item("scan.dat"))
    for entry in site.place.glob(".dropline-destination*"):
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    (site.place / "scan.dat").unlink()
    with pytest.raises(Transient):
        reread(site, "scan.dat", b"x")


def test_a_destination_that_goes_away_meanwhile_says_nothing_of_its_copies(folder: Site) -> None:
    """What is wrong is believed only if the destination is the right one still."""
    folder.put("scan.dat", b"x" * SMALL)
    folder.deliver(folder.item("scan.dat"))
    flip(folder.place / "scan.dat")
    version = folder.item("scan.dat").version

    def vanish(length: int) -> None:
        (folder.place / IDENTITY).unlink(missing_ok=True)

    with pytest.raises(Transient, match=r"no \.dropline-destination"):
        folder.transport.reread("scan.dat", version, folder.checksum(b"x" * SMALL), "sha256", folder.identity, vanish)


def test_a_reading_ends_when_it_is_told_to(folder: Site) -> None:
    """What `tell` raises ends it, after one block: the agent stops."""
    folder.put("scan.dat", b"x" * (3 * 2**20))
    folder.deliver(folder.item("scan.dat"))
    told: list[int] = []

    def tell(length: int) -> None:
        told.append(length)
        raise Transient("the agent stops")

    version = folder.item("scan.dat").version
    with pytest.raises(Transient, match="the agent stops"):
        folder.transport.reread("scan.dat", version, b"", "sha256", folder.identity, tell)
    assert told == [2**20]


def test_discard_removes_only_what_was_never_finished(folder: Site) -> None:
    """Only the temporary file of that very file and path goes: not what arrived, nor what others stage."""
    folder.put("run/scan.dat", b"x")
    folder.deliver(folder.item("run/scan.dat"))
    run = folder.place / "run"
    for name in (temporary_name(AGENT, 1), temporary_name(AGENT, 2), temporary_name("another", 1)):
        (run / name).write_bytes(b"half")
    folder.transport.discard([(1, "run/scan.dat"), (1, "run/scan.dat"), (3, "never/made.dat")])
    assert folder.tree() == {
        "run/scan.dat": b"x",
        f"run/{temporary_name(AGENT, 2)}": b"half",
        f"run/{temporary_name('another', 1)}": b"half",
    }


def test_a_leftover_that_cannot_be_removed_is_its_own_trouble(folder: Site) -> None:
    """Where a directory has the name of a temporary file, the others go, and the destination stays up."""
    (folder.place / "run" / temporary_name(AGENT, 1)).mkdir(parents=True)
    (folder.place / "run" / temporary_name(AGENT, 2)).write_bytes(b"half")
    folder.transport.discard([(1, "run/scan.dat"), (2, "run/other.dat")])
    folder.transport.check(folder.identity)
    assert os.listdir(folder.place / "run") == [temporary_name(AGENT, 1)]


# What only a directory has


def test_a_sparse_file_stays_sparse(folder: Site) -> None:
    """Holes are not written out, and the copy is equal to the last byte."""
    if WINDOWS:
        pytest.skip("Windows writes holes out, unless a file was made sparse")
    path = folder.source / "sparse.dat"
    with path.open("wb") as file:
        file.truncate(16 * 2**20)
        file.seek(10 * 2**20 + 12_345)
        file.write(b"data" * 1000)
        file.truncate(16 * 2**20)
    folder.deliver(folder.item("sparse.dat"))
    copy = folder.place / "sparse.dat"
    assert folder.checksum(copy.read_bytes()) == folder.checksum(path.read_bytes())
    assert copy.stat().st_size == 16 * 2**20
    assert copy.stat().st_blocks * 512 < 3 * 2**20


@needs_modes
@pytest.mark.parametrize("mode", [0o444, 0o600, 0o640, 0o6755])
def test_a_copy_is_as_readable_as_the_file(folder: Site, mode: int) -> None:
    """The copy has the permissions of the file, without special bits, and its owner may write it."""
    path = folder.put("scan.dat", b"x")
    path.chmod(mode)
    folder.deliver(folder.item("scan.dat"))
    assert stat.S_IMODE((folder.place / "scan.dat").stat().st_mode) == (mode & 0o755) | 0o200


@needs_modes
def test_what_was_private_arrives_in_private(folder: Site) -> None:
    """In directories that are made for it; those above stand for the watched folder."""
    folder.put("private/deep/scan.dat", b"x").parent.parent.chmod(0o700)
    folder.deliver(folder.item("private/deep/scan.dat", path="2026/private/deep/scan.dat"))
    found = {path: stat.S_IMODE((folder.place / path).stat().st_mode) for path in ("2026", "2026/private")}
    assert found == {"2026": stat.S_IMODE(folder.source.stat().st_mode), "2026/private": 0o700}


@pytest.mark.parametrize("algorithm", ["sha256", "blake3", "md5"])
@pytest.mark.parametrize("verify", ["checksum", "size"])
def test_every_algorithm_proves_and_confirms(tmp_path: Path, folder: Site, verify: str, algorithm: str) -> None:
    """Evidence of every algorithm is confirmed; a changed bit is found where content is verified, a cut file always."""
    folder.put("scan.dat", b"x" * SMALL)
    woken = threading.Event()
    transport = DirectoryTransport("share", slashes(folder.place), verify, algorithm, AGENT, woken.set)  # type: ignore[arg-type]
    try:
        item = folder.item("scan.dat")
        transport.submit(transport.prepare(1, "r", [item], folder.identity).request, [item], folder.identity)
        assert woken.wait(30.0)
        (report,) = transport.reports(0.0)
        (outcome,) = report.outcomes
        assert isinstance(outcome, Arrived)
        assert (outcome.algorithm, outcome.adopted) == (algorithm, False)
        copy, asked = (
            folder.place / "scan.dat",
            ("scan.dat", item.version, outcome.content.checksum, algorithm, folder.identity),
        )
        assert transport.confirm(*asked).ok
        flip(copy)
        assert transport.confirm(*asked).ok == (verify == "size")
        os.truncate(copy, 3)
        assert not transport.confirm(*asked).ok
    finally:
        transport.close()


def test_names_of_what_is_staged_cannot_be_foretold() -> None:
    """Who knows the agent's id and the number of a file, but not the agent's key, cannot take the name beforehand."""
    names = {temporary_name(key, what) for key in (f"{AGENT}1234", f"{AGENT}1235") for what in (1, 2, "identity")}
    assert len(names) == 6
    assert {re.sub("[0-9a-f]{24}", "", name) for name in names} == {f".dropline-{AGENT}-.part"}


def test_a_taken_name_is_one_files_trouble(folder: Site) -> None:
    """Others arrive, and so does that file once the name is free."""
    for number in (1, 2):
        folder.put(f"{number}.dat", b"x")
    taken = folder.place / temporary_name(AGENT, 1)
    (taken / "in it").mkdir(parents=True)
    items = [folder.item(f"{number}.dat", number) for number in (1, 2)]
    outcomes, failure = folder.deliver(*items)
    assert list(outcomes) == [2]
    assert f"{taken.name!r} is somebody else's" in str(failure)
    (taken / "in it").rmdir()
    taken.rmdir()
    assert folder.deliver(items[0]).failure is None
    assert folder.tree() == {"1.dat": b"x", "2.dat": b"x"}


@pytest.mark.parametrize("hole", [False, True])
def test_a_file_larger_than_files_may_be_there_is_that_files_refusal(folder: Site, hole: bool) -> None:
    """As on FAT beyond 4 GiB; the others arrive, and the destination takes more."""
    resource = pytest.importorskip("resource")
    folder.put("large.dat", b"" if hole else b"x" * LARGE)
    os.truncate(folder.source / "large.dat", LARGE)
    folder.put("small.dat", b"x")
    large, small = folder.item("large.dat", 1), folder.item("small.dat", 2)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGE - 1, limits[1]))
    try:
        found = folder.deliver(large, small)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    hint = "mend that, rename it, or change the rule's `path`, then `dropline retry`"
    reason = "cannot be written as 'large.dat': it is larger than files may be there"
    content = folder.known(b"x")
    assert found == (
        {1: Undeliverable(1, reason, hint), 2: Arrived(2, content, folder.algorithm, adopted=False)}, None,
    )  # fmt: skip
    assert folder.tree() == {"small.dat": b"x"}


def test_what_a_killed_run_left_is_used_up(folder: Site) -> None:
    """A half-written temporary file of an earlier attempt, longer than the file even, ends up as the file."""
    folder.put("scan.dat", b"x" * SMALL)
    leftover = folder.place / temporary_name(AGENT, 1)
    leftover.write_bytes(b"junk" * SMALL)
    leftover.chmod(0o600)
    assert folder.deliver(folder.item("scan.dat")).failure is None
    assert folder.tree() == {"scan.dat": b"x" * SMALL}
    leftover.write_bytes(b"junk")
    assert folder.deliver(folder.item("scan.dat")).outcomes == {
        1: Arrived(1, folder.known(b"x" * SMALL), "sha256", adopted=True)
    }
    assert folder.tree() == {"scan.dat": b"x" * SMALL}


@pytest.fixture
def before_it_shows(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Lets something happen at the destination when the files are staged, and not visible yet."""
    real = LOCAL.make_durable

    def arrange(act: Callable[[], object]) -> None:
        def meanwhile(files: Files, handles: Sequence[Handle]) -> None:
            real(handles)
            act()

        monkeypatch.setattr(type(LOCAL), "make_durable", meanwhile)

    return arrange


@pytest.mark.parametrize("there", [b"theirs", b"them", b"mine"])
def test_a_name_taken_meanwhile_is_not_overwritten(
    folder: Site, before_it_shows: Callable[[Callable[[], object]], None], there: bytes
) -> None:
    """A file that takes the name while ours is staged stays as it is: adopted where it is equal, else told of."""
    folder.put("scan.dat", b"mine")
    wanted = folder.item("scan.dat")
    copy = folder.place / "scan.dat"
    before_it_shows(lambda: copy.write_bytes(there))
    outcome = (
        Arrived(1, folder.known(there), "sha256", adopted=True)
        if there == b"mine"
        else folder.occupied(wanted, folder.known(there))
    )
    assert folder.deliver(wanted) == ({1: outcome}, None)
    assert folder.tree() == {"scan.dat": there}


def test_replaces_is_asked_again_at_the_end(
    folder: Site, before_it_shows: Callable[[Callable[[], object]], None]
) -> None:
    """Content that took the place of the replaceable one while ours was staged, which may take hours, is not touched."""
    folder.put("scan.dat", b"new")
    copy = folder.place / "scan.dat"
    copy.write_bytes(b"old")
    before_it_shows(lambda: copy.write_bytes(b"precious"))
    result = folder.deliver(folder.item("scan.dat", replaces=folder.known(b"old")))
    assert result == ({1: NameTaken(1, 8, None)}, None)
    assert folder.tree() == {"scan.dat": b"precious"}


@pytest.mark.parametrize("moment", ["after it was compared", "in the last moment"])
@pytest.mark.parametrize("how", ["another file", "written in place"])
def test_what_was_compared_is_what_is_replaced(
    folder: Site, monkeypatch: pytest.MonkeyPatch, moment: str, how: str
) -> None:
    """Other content that takes the name once the former copy was read, or between the last look and the rename, stays."""
    if WINDOWS and moment == "in the last moment":
        pytest.skip("Windows exchanges no names: the moment between the last look and the rename is not covered")
    folder.put("scan.dat", b"newer")
    copy, other = folder.place / "scan.dat", folder.source / "other"
    copy.write_bytes(b"old")

    def meanwhile() -> None:
        if how == "another file":
            other.write_bytes(b"foreign")
            os.replace(other, copy)
        else:
            copy.write_bytes(b"foreign")

    def compared(group: writer._Group, one: writer._Staged) -> Observation | None:
        found = replaceable(group, one)
        meanwhile()
        return found

    replaceable = writer._Group._replaceable
    if moment == "in the last moment":
        from agent.files.posix import durable

        exchange = durable.exchange

        def exchanged(*words: Any) -> None:
            monkeypatch.setattr(durable, "exchange", exchange)
            meanwhile()
            exchange(*words)

        monkeypatch.setattr(durable, "exchange", exchanged)
    else:
        monkeypatch.setattr(writer._Group, "_replaceable", compared)
    result = folder.deliver(folder.item("scan.dat", replaces=folder.known(b"old")))
    assert result == ({1: NameTaken(1, 7, None)}, None)
    assert folder.tree() == {"scan.dat": b"foreign"}


def test_what_cannot_be_proved_never_shows(
    folder: Site, before_it_shows: Callable[[Callable[[], object]], None]
) -> None:
    """Storage that gives back other bytes than were written fails that file; nothing of it appears, and nothing is left."""
    folder.put("one.dat", b"x" * SMALL)
    folder.put("two.dat", b"y" * SMALL)
    before_it_shows(lambda: flip(folder.place / temporary_name(AGENT, 2)))
    outcomes, failure = folder.deliver(folder.item("one.dat", 1), folder.item("two.dat", 2))
    assert outcomes == {1: Arrived(1, Content(folder.checksum(b"x" * SMALL), SMALL), "sha256", adopted=False)}
    assert failure is not None
    assert "two.dat" in failure
    assert folder.tree() == {"one.dat": b"x" * SMALL}


@pytest.mark.parametrize("change", ["grow", "shrink", "rewrite", "open"])
@pytest.mark.parametrize("size", [3 * 2**20, LARGE])
def test_a_source_that_changes_while_it_is_read_is_not_delivered(
    folder: Site, monkeypatch: pytest.MonkeyPatch, change: str, size: int
) -> None:
    """A reading during which the file moved counts for nothing and leaves nothing. (A removed file is still whole.)"""
    content = os.urandom(2**10) * (size // 2**10)
    path = folder.put("scan.dat", content)
    item = folder.item("scan.dat")
    with LOCAL.tree(slashes(folder.source)) as tree, tree.open("scan.dat") as handle:
        reader = type(handle)
    real, opened = reader.read_into, []

    def act() -> None:
        match change:
            case "grow":
                until_noticed(path, grow)
            case "shrink":
                os.truncate(path, size - 1)
            case "rewrite":
                until_noticed(path, lambda path: path.write_bytes(b"new" + content[3:]))
            case "open":
                opened.append(path.open("r+b"))

    def read(handle: Handle, block: memoryview, offset: int) -> int:
        length = real(handle, block, offset)
        if handle.opened.version.file_id == item.version.file_id and not acted.is_set():
            acted.set()
            act()
        return length

    acted = threading.Event()
    monkeypatch.setattr(reader, "read_into", read)
    outcomes, failure = folder.deliver(item)
    for file in opened:
        file.close()
    assert failure is None
    assert acted.is_set()
    assert [type(outcome) for outcome in outcomes.values()] == [Changed]
    assert folder.tree() == {}


@needs_modes
def test_an_unreadable_source_is_unfit_alone(commons: Path, folder: Site, child: Child, delivery: type[Round]) -> None:
    """A source that the agent's user may not read is for a person; the others arrive."""
    source, share = commons / "data", shared(commons, folder)
    source.mkdir()
    (source / "secret").write_bytes(b"secret")
    (source / "good").write_bytes(b"good")
    (source / "secret").chmod(0)
    items = [
        Item(n, str(source), name, _seen(source / name).version, name) for n, name in enumerate(("secret", "good"))
    ]
    (((outcomes, failure), there),) = child.as_nobody(share, folder.identity, delivery(items))
    assert failure is None
    assert isinstance(outcomes[0], Undeliverable)
    assert (outcomes[0].reason, "readable" in outcomes[0].hint) == ("cannot be read: Permission denied", True)
    assert outcomes[1] == Arrived(1, folder.known(b"good"), "sha256", adopted=False)
    assert there == {"good": b"good"}


def shared(commons: Path, folder: Site) -> Path:
    """A destination that every user may write to, with the identity of the folder."""
    share = commons / "share"
    share.mkdir()
    share.chmod(0o777)
    shutil.copy(folder.place / IDENTITY, share / IDENTITY)
    return share


def sources(commons: Path, *names: str) -> list[Item]:
    source = commons / "data"
    source.mkdir()
    for name in names:
        (source / name).write_bytes(name.encode())
    return [Item(number, str(source), name, _seen(source / name).version, name) for number, name in enumerate(names)]


@needs_modes
def test_a_destination_that_may_not_be_written_is_down(
    commons: Path, folder: Site, child: Child, delivery: type[Round]
) -> None:
    """Where the agent's user may not write at all, the delivery fails with the reason, and no file is blamed."""
    share, items = shared(commons, folder), sources(commons, "one", "two")
    share.chmod(0o555)
    (first,) = child.as_nobody(share, folder.identity, delivery(items))
    assert first == (({}, f"{share}: {os.strerror(errno.EACCES)}"), {})
    share.chmod(0o777)
    (second,) = child.as_nobody(share, folder.identity, delivery(items))
    assert second[1] == {"one": b"one", "two": b"two"}


@needs_modes
def test_a_directory_that_may_not_be_written_concerns_its_files_only(
    commons: Path, folder: Site, child: Child, delivery: type[Round]
) -> None:
    """A sub-directory or file at the destination that belongs to somebody else stops the files that want it, no others."""
    share, (one, two, three) = shared(commons, folder), sources(commons, "one", "two", "three")
    (share / "theirs").mkdir()
    (share / "theirs").chmod(0o555)
    (share / "three").write_bytes(b"three")
    (share / "three").chmod(0)
    items = [one._replace(path="theirs/one"), two, three]
    (((outcomes, failure), there),) = child.as_nobody(share, folder.identity, delivery(items))
    assert failure is None
    assert [type(outcomes[number]) for number in range(3)] == [Undeliverable, Arrived, Undeliverable]
    assert there == {"two": b"two", "three": None}


def mounted(share: Path, folder: Site, options: str) -> list[list[str]]:
    """Commands that make the destination a file system of its own."""
    return [
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(share)],
        ["cp", str(folder.place / IDENTITY), str(share / IDENTITY)],
    ]


@pytest.mark.parametrize("size", [300_000, LARGE])
def test_a_full_destination_fails_and_goes_on_when_there_is_room(
    commons: Path, folder: Site, child: Child, delivery: type[Round], size: int
) -> None:
    """When space runs out the delivery fails with the reason and leaves no temporary file; with room it goes on."""
    share, items = shared(commons, folder), sources(commons, "small", "big")
    big = commons / "data/big"
    big.write_bytes(b"x" * size)
    items[1] = items[1]._replace(version=_seen(big).version)
    filler = ["sh", "-c", f"head -c 200000 /dev/zero > {share}/filler"]
    before = [*mounted(share, folder, f"size={size + 100_000}"), filler]
    first, second = child.with_mounts(
        share, folder.identity, delivery(items, before), delivery(items, [["rm", str(share / "filler")]])
    )
    assert first[0].failure == f"{share}: 'big': {os.strerror(errno.ENOSPC)}"
    assert 1 not in first[0].outcomes
    assert {name for name in first[1] if name not in ("filler", "small")} == set()
    assert second[0].failure is None
    assert second[1] == {"small": b"small", "big": b"x" * size}


def test_a_destination_mounted_read_only_is_down(
    commons: Path, folder: Site, child: Child, delivery: type[Round]
) -> None:
    """A read-only mount fails the delivery with the reason; remounted, everything arrives."""
    share, items = shared(commons, folder), sources(commons, "one", "two")
    before = [*mounted(share, folder, "size=1m"), ["mount", "-o", "remount,bind,ro", str(share)]]
    first, second = child.with_mounts(
        share,
        folder.identity,
        delivery(items, before),
        delivery(items, [["mount", "-o", "remount,bind,rw", str(share)]]),
    )
    assert first == (({}, f"{share}: {os.strerror(errno.EROFS)}"), {})
    assert second[1] == {"one": b"one", "two": b"two"}


def test_the_file_of_a_question_that_failed_is_removed_when_the_destination_is_there_again(folder: Site) -> None:
    """The agent asks by a file whether it can write. What could not be removed goes with the next check; another agent's stays."""
    for key in (AGENT, "another"):
        (folder.place / probe_name(key)).write_bytes(b"left")
    folder.transport.check(folder.identity)
    assert folder.tree() == {probe_name("another"): b"left"}


def test_no_descriptor_is_left_open(folder: Site) -> None:
    """After deliveries of every kind, good and bad, and after close, as many descriptors are open as before."""
    before = open_handles()
    for number in range(40):
        folder.put(f"run/{number}/scan.dat", b"x")
    folder.put("big.dat", b"x" * LARGE)
    folder.put("empty", b"")
    folder.put("link", b"x")
    (folder.place / "taken").write_bytes(b"theirs")
    many = [folder.item(f"run/{number}/scan.dat", number) for number in range(40)]
    few = [
        folder.item("big.dat", 100),
        folder.item("empty", 101),
        folder.item("link", 102),
        folder.item("big.dat", 103, "taken"),
        folder.item("empty", 104, "n" * 300),
        folder.item("empty", 105, "no/../../way" + "n" * 300),
    ]
    a_link_to_the_same(folder.source / "link")
    (folder.source / "run/7/scan.dat").unlink()
    folder.deliver(*many)
    folder.deliver(*few)
    folder.deliver(*many, *few)
    for path in ("big.dat", "taken", "missing", "run"):
        folder.transport.confirm(path, many[0].version, folder.checksum(b"x" * LARGE), "sha256", folder.identity)
    spoil(folder.place, "no identity")
    folder.deliver(*few)
    folder.transport.close()
    assert open_handles() == before


def test_closing_leaves_nothing_half_done(folder: Site) -> None:
    """An agent that stops in the middle of deliveries leaves whole files only, and the next one brings the rest."""
    contents = {f"{number}.dat": os.urandom(2**10) * 6_000 for number in range(6)}
    for name, content in contents.items():
        folder.put(name, content)
    items = [folder.item(name, number) for number, name in enumerate(contents)]
    folder.transport.submit(folder.transport.prepare(1, "r", items, folder.identity).request, items, folder.identity)
    folder.transport.close()
    arrived = folder.tree()
    assert arrived.items() <= contents.items()
    woken = threading.Event()
    transport = DirectoryTransport("share", slashes(folder.place), "checksum", "sha256", AGENT, woken.set)
    try:
        transport.submit(transport.prepare(1, "r", items, folder.identity).request, items, folder.identity)
        ended = False
        while not ended:
            assert woken.wait(30.0)
            woken.clear()
            ended = any(report.ended for report in transport.reports(0.0))
        assert folder.tree() == contents
    finally:
        transport.close()


def test_what_goes_to_a_destination_keeps_to_its_rate_in_sum(folder: Site) -> None:
    """Large files, small ones that a thread writes and small ones that a helper process writes; what is read back counts apart."""
    rate = 40_000_000
    folder.transport.close()
    folder.transport = DirectoryTransport(
        "share", slashes(folder.place), "checksum", "sha256", AGENT, folder.woken.set, limits=[Limit(rate)]
    )
    sizes = {f"bulk{n}": 100_000 for n in range(BULK_FILES)} | {"large1": LARGE, "large2": LARGE, "one": 2_000_000}
    for name, size in sizes.items():
        folder.put(name, bytes(size - 1) + b"x")
    items = [folder.item(name, number) for number, name in enumerate(sizes, start=1)]
    began = time.monotonic()
    result = folder.deliver(*items)
    took = time.monotonic() - began
    folder.transport.close()
    assert (result.failure, len(result.outcomes)) == (None, len(sizes))
    assert took >= sum(sizes.values()) / rate


def test_a_paused_destination_takes_nothing_until_it_is_resumed(folder: Site) -> None:
    """What was handed over waits, and is not lost; what is there cannot be asked for meanwhile."""
    folder.put("there", b"x" * 100)
    there = folder.item("there", 1)
    assert isinstance(folder.deliver(there).outcomes[1], Arrived)
    folder.transport.pause()
    for name, size in (("small", 10), ("large", LARGE)):
        folder.put(name, b"x" * size)
    items = [folder.item("small", 2), folder.item("large", 3)]
    request = folder.transport.prepare(2, "r", items, folder.identity).request
    folder.transport.submit(request, items, folder.identity)
    with pytest.raises(Transient, match="paused"):
        folder.transport.confirm("there", there.version, folder.checksum(b"x" * 100), "sha256", folder.identity)
    assert [name for name in folder.tree() if not name.startswith(".dropline")] == ["there"]
    assert folder.transport.reports(0.0) == []
    folder.transport.resume()
    outcomes: list[Outcome] = []
    while len(outcomes) < 2:
        assert folder.woken.wait(30)
        folder.woken.clear()
        outcomes += [outcome for report in folder.transport.reports(0.0) for outcome in report.outcomes]
    assert {outcome.file for outcome in outcomes if isinstance(outcome, Arrived)} == {2, 3}
    assert sorted(folder.tree()) == ["large", "small", "there"]
