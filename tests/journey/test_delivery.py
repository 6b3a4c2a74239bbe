"""Files on their way to the share, from the drop to the proof."""

import hashlib
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.systems import WINDOWS

if TYPE_CHECKING:
    from tests.journey.conftest import Site

OLD = 1_000_000_000_123_456_700 if WINDOWS else 1_000_000_000_123_456_789
"""A modification time of the year 2001, as exact as the system knows it."""


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def identity(path: Path) -> tuple[int, int]:
    """Equal as long as nobody replaced or wrote the file."""
    status = path.stat()
    return status.st_ino, status.st_mtime_ns


# A file's whole way


def test_a_dropped_file_is_proved_at_the_share_and_a_second_run_changes_nothing(site: "Site") -> None:
    """Dropped → verified: bytes and mtime equal, the checksum in the evidence; a second run leaves all as it is."""
    content = bytes(range(256)) * 99
    site.put("run1/scan.dat", content, OLD)
    assert site.once() == 0
    copy = site.share / "run1" / "scan.dat"
    assert site.delivered == {"run1/scan.dat": content}
    assert copy.stat().st_mtime_ns == OLD
    versions = site.explain("run1/scan.dat")
    assert [(one["state"], one["size"], one["mtime_ns"]) for one in versions] == [("verified", len(content), OLD)]
    (proof,) = versions[0]["copies"]
    assert proof.pop("proved_at") > 0
    assert proof == {
        "destination": "share",
        "address": str(site.share),
        "path": "run1/scan.dat",
        "checksum": sha256(content),
    }
    before = identity(copy)
    assert site.once() == 0
    assert (site.delivered, identity(copy)) == ({"run1/scan.dat": content}, before)
    assert site.explain("run1/scan.dat") == [versions[0] | {"copies": site.explain("run1/scan.dat")[0]["copies"]}]


# Names

NAMES = [
    b"with space.dat",
    b"new\nline.dat",
    b"\n.dat",
    "🧪 naïve.dat".encode(),
    b"n" * 251 + b".dat",
    b"invalid\xff\xfe.dat",
    b"tilt[30.0].dat",
    b"-rf.dat",
    b"quote\"'`$(x).dat",
    b"back\\slash.dat",
    b"tab\tand\x1b[31m.dat",
    b"[a-z]*?!\xff \n/-dir/~.dat",
    b"#comment.dat",
    b"!bang.dat",
    b" leading and trailing .dat",
    b"{relpath}%s.dat",
]


@pytest.fixture(scope="module")
def named(sites: "Callable[[], Site]") -> "Site":
    site = sites()
    site.configure(site.rule(include=["**/*.dat"]))
    for number, name in enumerate(NAMES):
        site.put(name, b"%d" % number)
    assert site.once() == 0
    return site


def test_names_arrive_byte_for_byte(named: "Site") -> None:
    """Whatever bytes a name has, the copy has the same."""
    assert named.delivered == {os.fsdecode(name): b"%d" % number for number, name in enumerate(NAMES)}


def test_names_are_printed_on_one_line(named: "Site") -> None:
    """Each command prints each file on one line of printable characters."""
    for path in (named.inbox / os.fsdecode(name) for name in NAMES[1:7]):
        done = named.dropline("explain", path)
        lines = done.out.split("\n")[:-1]
        assert (done.code, done.err, lines[0].endswith(": is there; claimed by rule 'r'")) == (0, "", True), done
        assert all(line.isprintable() for line in lines), lines
    for command in (["files"], ["reclaim", "--dry-run"], ["batches"], ["status"]):
        done = named.dropline(*command)
        lines = done.out.split("\n")[:-1]
        assert (done.code, done.err) == (0, ""), command
        assert all(line.isprintable() for line in lines), command
        if command in (["files"], ["reclaim", "--dry-run"]):
            assert sum(".dat" in line for line in lines) == len(NAMES), command


def test_names_are_printed_whatever_the_terminal_can_show(named: "Site") -> None:
    """Where the terminal's encoding has no such letter, an escape takes its place."""
    done = named.dropline("files", fresh=True, environment={"PYTHONIOENCODING": "latin-1"})
    assert (done.code, len(done.out.splitlines())) == (0, len(NAMES))
    assert "\\U0001f9ea na\ufffdve.dat" in done.out


def test_names_survive_json(named: "Site") -> None:
    """In JSON every name is whole: undecodable bytes are surrogate escapes."""
    expected = {os.path.join(str(named.inbox), os.fsdecode(name)) for name in NAMES}
    assert {line["path"] for line in named.dropline("files", "--format", "json").json} == expected
    plan = named.dropline("reclaim", "--dry-run", "--format", "json").json
    assert {line["path"] for line in plan} == expected
    for command in ("batches", "status"):
        assert named.dropline(command, "--format", "json").code == 0


def test_a_marker_belongs_to_its_file_whatever_characters_their_names_have(site: "Site") -> None:
    """With marker = "{stem}.done" each file waits for its own marker, also with glob metacharacters in its name."""
    site.configure(site.rule(include=["*.dat"], complete={"quiet": "0s", "marker": "{stem}.done"}))
    for name in ("tilt[30.0].dat", "tilt3.dat", "a*.dat", "ab.dat", "wait.dat"):
        site.put(name, name.encode())
    for name in ("tilt[30.0].done", "a*.done"):
        site.put(name, b"")
    assert site.once() == 1, "some are left"
    assert site.delivered == {name: name.encode() for name in ("tilt[30.0].dat", "a*.dat")}


# Sizes and numbers


@pytest.fixture(scope="module")
def bulk(sites: "Callable[[], Site]") -> "tuple[Site, dict[str, bytes | str]]":
    site = sites()
    content: dict[str, bytes | str] = {}
    for number in range(300):
        content[f"dir{number % 20}/{number}.dat"] = f"file {number}".encode() * number
    for number in range(80):
        content[f"together/{number}.dat"] = bytes([number]) * 20_000
    content["empty.dat"] = b""
    content["large.dat"] = os.urandom(2**20) * 64
    content["sparse.dat"] = b"head" + bytes(20 * 2**20) + b"tail" + bytes(5 * 2**20)
    for name, data in content.items():
        if name != "sparse.dat":
            site.put(name, bytes(data))
    with (site.inbox / "sparse.dat").open("wb") as file:
        file.write(b"head")
        file.seek(20 * 2**20, os.SEEK_CUR)
        file.write(b"tail")
        file.truncate(len(content["sparse.dat"]))
    assert site.once() == 0
    return site, content


def test_files_of_all_sizes_arrive_whole(bulk: "tuple[Site, dict[str, bytes | str]]") -> None:
    """Empty, small (hundreds in many directories), sparse and large files arrive whole, and nothing else is there."""
    site, content = bulk
    found = site.delivered
    assert sorted(found) == sorted(content)
    assert [name for name, data in content.items() if found[name] != data] == []
    assert site.status()["files"] == {"verified": len(content)}


def test_holes_stay_holes(bulk: "tuple[Site, dict[str, bytes | str]]") -> None:
    """A sparse file takes no more room at the share than here."""
    site, _ = bulk
    assert (site.share / "sparse.dat").stat().st_blocks <= (site.inbox / "sparse.dat").stat().st_blocks + 4096


def test_every_file_has_its_evidence(bulk: "tuple[Site, dict[str, bytes | str]]") -> None:
    """The checksum in the ledger is that of the content, for large files and for files delivered in groups."""
    site, content = bulk
    for name in ("empty.dat", "large.dat", "sparse.dat", "together/7.dat"):
        (version,) = site.explain(name)
        assert [copy["checksum"] for copy in version["copies"]] == [sha256(bytes(content[name]))], name


# Refused alone


class Opens:
    """Counts how often a path is opened, as the kernel tells it (inotify(7))."""

    def __init__(self, path: Path) -> None:
        from watchdog.observers.inotify_c import InotifyConstants, inotify_add_watch, inotify_init

        self._fd = inotify_init()
        os.set_blocking(self._fd, False)
        assert inotify_add_watch(self._fd, os.fsencode(path), InotifyConstants.IN_OPEN) >= 0

    def any(self) -> bool:
        try:
            return bool(os.read(self._fd, 4096))
        except BlockingIOError:
            return False
        finally:
            os.close(self._fd)


@pytest.fixture(scope="module")
def odd(sites: "Callable[[], Site]") -> "tuple[Site, int, bool]":
    """A site with files that cannot travel among some that can: (site, exit code, whether the FIFO was opened)."""
    site = sites()
    for name in ("a.dat", "m.dat", "z.dat"):
        site.put(name, name.encode())
    (site.root / "secret").write_bytes(b"outside of the inbox")
    (site.inbox / "link.dat").symlink_to(site.root / "secret")
    (site.inbox / "linked").symlink_to(site.root)
    os.mkfifo(site.inbox / "fifo.dat")
    os.mknod(site.inbox / "socket.dat", stat.S_IFSOCK | 0o600)
    site.put("locked.dat", b"mine alone").chmod(0)
    opens = Opens(site.inbox / "fifo.dat")
    code = site.once(unprivileged=True)
    return site, code, opens.any()


pytestmark = pytest.mark.skipif(sys.platform == "darwin", reason="FIFOs, sockets, leases and modes as on Linux")


def test_one_bad_file_does_not_stop_the_others(odd: "tuple[Site, int, bool]") -> None:
    """Links, FIFOs, sockets and unreadable files are refused alone: the others arrive, and the exit code is 1."""
    site, code, _ = odd
    assert (code, site.delivered) == (1, {name: name.encode() for name in ("a.dat", "m.dat", "z.dat")})
    refused = {name: ["refused"] for name in ("link.dat", "linked", "fifo.dat", "socket.dat", "locked.dat")}
    assert site.states() == refused | {name: ["verified"] for name in ("a.dat", "m.dat", "z.dat")}
    assert site.once(unprivileged=True) == 1


def test_refusals_say_why_and_what_to_do(odd: "tuple[Site, int, bool]") -> None:
    """`files --state refused` tells the reason and the hint of each."""
    site, _, _ = odd
    done = site.dropline("files", "--state", "refused", "--format", "json")
    follow = "; the file it points to travels if it is watched itself; exclude the link"
    readable = "make it readable for the agent's user, then `dropline retry`"
    assert {os.path.basename(line["path"]): line["reason"] for line in done.json} == {
        "link.dat": f"a link, not a file{follow}",
        "linked": f"a link, not a file{follow}",
        "fifo.dat": "a FIFO, not a file; remove it, or exclude it",
        "socket.dat": "a socket, not a file; remove it, or exclude it",
        "locked.dat": f"cannot be read: Permission denied; {readable}",
    }
    text = site.dropline("files", "--state", "refused").out.splitlines()
    assert sorted(line.split()[0] for line in text) == ["refused"] * 5
    assert sum(readable in line for line in text) == 1


def test_a_fifo_is_never_opened(odd: "tuple[Site, int, bool]") -> None:
    """Opening a FIFO would wake, or hang on, whoever is at its other end."""
    assert not odd[2]


def test_a_file_made_readable_goes_after_a_retry(site: "Site") -> None:
    """What a person mended goes with `dropline retry`, and the exit code is 0 again."""
    path = site.put("locked.dat", b"mine alone")
    path.chmod(0)
    assert site.once(unprivileged=True) == 1
    path.chmod(0o600)
    assert site.dropline("retry").out == "1 files and 0 deliveries will be tried again\n"
    assert (site.once(unprivileged=True), site.delivered) == (0, {"locked.dat": b"mine alone"})


@pytest.mark.parametrize("how", ["chmod", "touch", "rewrite", "append", "replace"])
@pytest.mark.parametrize("places", [("share",), ("share", "tape")])
def test_a_refused_file_keeps_its_name_whatever_is_done_to_it(site: "Site", how: str, places: Sequence[str]) -> None:
    """Its name is taken there: it is judged again, refused for the same reason, and nothing goes as `b~2.dat`.

    It keeps its number, too, where only its stamps changed and no destination has it.
    """
    (site.root / "tape").mkdir()
    (site.share / "b.dat").write_bytes(b"theirs")
    site.configure(
        site.rule(deliver=[{"to": place} for place in places]),
        destinations={place: {"path": place} for place in places},
    )
    path = site.put("b.dat", b"mine", 10**18)

    def act(number: int) -> None:
        if how == "chmod":
            path.chmod((0o640, 0o600)[number])
        elif how == "touch":
            os.utime(path, ns=(10**18 + number + 1, 10**18 + number + 1))
        elif how == "replace":
            other = path.with_name(".other")
            other.write_bytes(b"mine %d" % number)
            other.rename(path)
        else:
            path.write_bytes(b"mine" if how == "rewrite" else b"mine" * (number + 2))

    assert site.once() == 1
    (before,) = site.dropline("files", "--state", "refused", "--format", "json").json
    for number in (0, 1):
        act(number)
        assert (site.once(), site.delivered) == (1, {"b.dat": b"theirs"})
        (after,) = site.dropline("files", "--state", "refused", "--format", "json").json
        assert after["reason"] == before["reason"]
        if places == ("share",) and how in ("chmod", "touch"):
            assert site.states() == {"b.dat": ["refused"]}


def test_a_file_made_readable_goes_without_a_retry(site: "Site") -> None:
    """Its rights were the reason: the change of them is enough."""
    path = site.put("locked.dat", b"mine alone")
    path.chmod(0)
    assert site.once(unprivileged=True) == 1
    path.chmod(0o600)
    assert (site.once(unprivileged=True), site.delivered) == (0, {"locked.dat": b"mine alone"})
    assert site.states() == {"locked.dat": ["verified"]}


def test_what_a_person_removed_needs_nobody_any_more(site: "Site") -> None:
    """A refused file that is removed, or replaced by one that can travel, leaves no refusal behind."""
    for name in ("gone.dat", "link.dat"):
        (site.inbox / name).symlink_to("/nowhere")
    site.put("taken.dat", b"mine")
    (site.share / "taken.dat").write_bytes(b"theirs")
    assert (site.once(), site.dropline("status").code) == (1, 1)
    for path in site.inbox.iterdir():
        path.unlink()
    site.put("link.dat", b"a file now")
    assert (site.once(), site.dropline("status").code) == (0, 0)
    assert site.delivered == {"link.dat": b"a file now", "taken.dat": b"theirs"}


def test_two_files_that_want_one_name_do_not_overwrite_each_other(site: "Site") -> None:
    """The second gets a name beside the first, also when it had the same content and changes later; the first stays."""
    site.configure(site.rule(deliver=[{"to": "share", "path": "{name}"}]))
    site.put("a/x.dat", b"first")
    assert site.once() == 0
    site.put("b/x.dat", b"second")
    assert (site.once(), site.delivered) == (0, {"x.dat": b"first", "x~2.dat": b"second"})
    site.put("b/x.dat", b"first")
    assert (site.once(), site.states()["b/x.dat"][0]) == (0, "verified")
    site.put("b/x.dat", b"third")
    assert (site.once(), site.delivered) == (0, {"x.dat": b"first", "x~2.dat": b"second", "x~3.dat": b"third"})


def test_a_file_from_the_far_future_or_past_does_not_stop_the_others(site: "Site") -> None:
    """A broken clock wrote an mtime beyond 64 bits of nanoseconds: the file and its neighbours arrive, and stay proved."""
    site.configure(site.rule(deliver=[{"to": "share", "path": "{mtime:%Y}/{name}"}]))
    for name, mtime in (("future.dat", 10_400_000_000), ("past.dat", -2_000_000_000), ("now.dat", 1_000_000_000)):
        os.utime(site.put(name, name.encode()), (mtime, mtime))
    assert site.once() == 0
    assert sorted(site.delivered.values()) == [b"future.dat", b"now.dat", b"past.dat"]
    assert site.delivered["2001/now.dat"] == b"now.dat"
    copies = {name: identity(site.share / name) for name in site.delivered}
    assert (site.once(), {name: identity(site.share / name) for name in site.delivered}) == (0, copies)
    assert site.states() == {name: ["verified"] for name in ("future.dat", "past.dat", "now.dat")}


# Never half a file


@pytest.mark.usefixtures("leases")
def test_a_file_that_is_still_open_stays_whatever_its_mtime_says(site: "Site") -> None:
    """A writer that pauses, with an mtime of an hour or decades ago, is not done until it closes."""
    path = site.put("growing.dat", b"first half, ")
    other = site.put("done.dat", b"done")
    with path.open("ab") as writer:
        os.utime(path, ns=(OLD, OLD))
        assert (site.once(), site.delivered) == (1, {"done.dat": b"done"})
        (version,) = site.explain("growing.dat")
        assert (version["state"], version["reason"]) == ("candidate", "a process has it open for writing")
        writer.write(b"second half")
    assert (site.once(), site.delivered) == (0, {"done.dat": b"done", "growing.dat": b"first half, second half"})
    assert identity(other)


@pytest.mark.usefixtures("leases")
def test_a_growing_file_whose_mtime_is_set_back_is_never_delivered_in_part(site: "Site") -> None:
    """Each write followed by an mtime of an hour ago: no part is ever at the share, and in the end the whole is."""
    agent = site.start()
    path = site.inbox / "copy.dat"
    whole = b""
    seen: list[object] = []
    with path.open("wb", buffering=0) as writer:
        for number in range(4):
            block = bytes([number]) * 5000
            whole += block
            writer.write(block)
            hour_ago = path.stat().st_mtime - 3600
            os.utime(path, (hour_ago, hour_ago))
            site.put(f"hint{number}.dat", b"so that the agent looks")
            site.until(lambda n=number: (site.share / f"hint{n}.dat").exists(), "the file beside it travels")
            seen.append(site.delivered.get("copy.dat"))
    site.until(lambda: site.delivered.get("copy.dat"), "the copy arrives once it is closed")
    assert (seen, site.delivered["copy.dat"]) == ([None] * 4, whole)
    assert agent.stop() == 0


# Changes


def copies(site: "Site", name: str) -> list[list[str]]:
    """Where each version of a file is, oldest first, as `explain` lists it."""
    return [[copy["path"] for copy in version["copies"]] for version in site.explain(name)]


@pytest.mark.parametrize("second", [b"second, another one", b"second", b"other measureme"])
def test_another_measurement_under_the_name_keeps_the_former_one(site: "Site", second: bytes) -> None:
    """A program that writes over its file: the name goes to the newest content, and the former copy is renamed beside it."""
    site.put("run/scan.csv", b"first measureme")
    assert site.once() == 0
    site.put("run/scan.csv", second)
    assert (site.once(), site.delivered) == (0, {"run/scan.csv": second, "run/scan~1.csv": b"first measureme"})
    assert copies(site, "run/scan.csv") == [["run/scan~1.csv"], ["run/scan.csv"]]
    site.put("run/scan.csv", second + b", and more")
    assert (site.once(), site.delivered["run/scan.csv"]) == (0, second + b", and more")
    assert copies(site, "run/scan.csv") == [["run/scan~1.csv"], [], ["run/scan.csv"]]


def test_a_file_saved_by_a_rename_keeps_the_former_copies(site: "Site") -> None:
    """A program that writes a new file and renames it over the former one: the name goes to the newest content each time."""

    def saved(content: bytes) -> None:
        site.put("scan.h5.new", content)
        (site.inbox / "scan.h5.new").rename(site.inbox / "scan.h5")

    site.configure(site.rule(exclude=["*.new"]))
    agent = site.start()
    expected: dict[str, bytes] = {}
    for number, content in enumerate((b"", b"first", b"second, another one", b"second, another one, longer", b"3")):
        saved(content)
        if expected.get("scan.h5"):
            expected[f"scan~{number}.h5"] = expected["scan.h5"]
        expected["scan.h5"] = content
        site.until(lambda: site.delivered == expected, f"save {number} is there")
    site.until(lambda: site.states()["scan.h5"][0] == "verified", "the last is verified")
    assert agent.stop() == 0
    assert copies(site, "scan.h5") == [[], *[[f"scan~{number}.h5"] for number in (2, 3, 4)], ["scan.h5"]]


@pytest.mark.skipif(shutil.which("rsync") is None, reason="rsync is not installed")
@pytest.mark.skipif(sys.platform != "linux", reason="leases as on Linux")
def test_a_transfer_that_broke_off_and_goes_on_is_a_writer_that_comes_back(site: "Site", tmp_path: Path) -> None:
    """rsync leaves a part under the name, and goes on in another file: both are kept, and such files wait longer."""
    site.configure(site.rule(complete={}))
    source = tmp_path / "scan.raw"
    source.write_bytes(bytes(range(256)) * 4096)
    command = ["rsync", "--archive", "--partial", str(source), f"{site.inbox}/"]
    agent = site.start()
    first = subprocess.Popen([*command, "--bwlimit=256"])
    site.until(lambda: any(one.stat().st_size for one in site.inbox.glob(".scan.raw.*")), "a part is written")
    first.terminate()
    assert first.wait() != 0
    site.until((site.inbox / "scan.raw").exists, "its other process has given the part the name")
    part = (site.inbox / "scan.raw").read_bytes()
    assert 0 < len(part) < source.stat().st_size
    site.until(lambda: site.delivered == {"scan.raw": part}, "the part is taken for the file")
    subprocess.run(command, check=True)
    whole = {"scan.raw": source.read_bytes(), "scan~1.raw": part}
    site.until(lambda: site.delivered == whole, "the file is whole")
    (waits,) = site.dropline("status", "--format", "json").json["came_back"]
    assert (waits["files"], waits["quiet"] > 0) == (str(site.inbox / "scan.raw"), True)
    assert agent.stop() == 0


def test_a_former_copy_is_renamed_onto_nothing(site: "Site") -> None:
    """Content that is not ours has the name aside: a person decides, and nothing is touched."""
    site.put("scan.csv", b"first")
    assert site.once() == 0
    (site.share / "scan~1.csv").write_bytes(b"theirs")
    site.put("scan.csv", b"second")
    assert (site.once(), site.delivered) == (1, {"scan.csv": b"first", "scan~1.csv": b"theirs"})
    (reason,) = [version["reason"] for version in site.explain("scan.csv") if version["state"] == "refused"]
    assert "'scan~1.csv', where it is to be kept, is there already" in reason
    (site.share / "scan~1.csv").unlink()
    assert site.dropline("retry").code == 0
    assert (site.once(), site.delivered) == (0, {"scan.csv": b"second", "scan~1.csv": b"first"})


def test_a_format_that_updates_its_header_in_place_goes_on(site: "Site") -> None:
    """Its rule says so: only a smaller size makes another measurement of it."""
    site.configure(site.rule(updates_in_place=True))
    site.put("scan.h5", b"head 1, data")
    assert site.once() == 0
    site.put("scan.h5", b"head 2, data, data")
    assert (site.once(), site.delivered) == (0, {"scan.h5": b"head 2, data, data"})
    site.put("scan.h5", b"head 1")
    assert site.once() == 0
    assert site.delivered == {"scan.h5": b"head 1", "scan~2.h5": b"head 2, data, data"}


def test_a_file_changed_in_place_replaces_its_own_copy(site: "Site") -> None:
    """What goes on, its first bytes being what was proved: the copy becomes what the file is."""
    names = ("appended.dat", "left.dat")
    for name in names:
        site.put(name, b"0123456789", OLD)
    assert site.once() == 0
    left = identity(site.share / "left.dat")
    with (site.inbox / "appended.dat").open("ab") as file:
        file.write(b"more")
    assert site.once() == 0
    assert site.delivered == {
        "appended.dat": b"0123456789more",
        "left.dat": b"0123456789",
    }
    assert identity(site.share / "left.dat") == left
    assert site.states() == {name: ["verified", "superseded"] for name in names[:3]} | {"left.dat": ["verified"]}


def test_content_behind_the_same_mtime_is_delivered_at_once_where_an_event_tells(site: "Site") -> None:
    """A mode that changes makes no event: a ctime alone is compared before a deletion, but what was written is read now."""
    agent = site.start()
    path = site.put("rewritten.dat", b"0123456789", OLD)
    site.until(lambda: site.delivered == {"rewritten.dat": b"0123456789"}, "it is delivered")
    site.until(lambda: site.states() == {"rewritten.dat": ["verified"]}, "it is verified")
    path.chmod(0o640)
    site.put("rewritten.dat", b"9876543210", OLD)
    site.until(lambda: site.delivered.get("rewritten.dat") == b"9876543210", "it is delivered again")
    assert agent.stop() == 0


def test_a_file_that_was_only_touched_does_not_travel_again(site: "Site") -> None:
    """touch and a rename over itself renew the evidence, chmod leaves it as it is; the copy is not written again."""
    for name in ("chmod.dat", "touch.dat", "saved.dat"):
        site.put(name, name.encode(), OLD)
    assert site.once() == 0
    before = {name: (site.share / name).stat().st_ino for name in site.delivered}
    (site.inbox / "chmod.dat").chmod(0o640)
    os.utime(site.inbox / "touch.dat")
    shutil.copy2(site.inbox / "saved.dat", site.root / "saved.dat")
    os.replace(site.root / "saved.dat", site.inbox / "saved.dat")
    assert site.once() == 0
    assert {name: (site.share / name).stat().st_ino for name in site.delivered} == before
    assert {name: states[0] for name, states in site.states().items()} == dict.fromkeys(before, "verified")


def test_a_new_file_under_a_reclaimed_name_gets_a_name_of_its_own(site: "Site") -> None:
    """The copy may be the only one of the former content: it is not touched, however often the name comes again."""
    site.configure(site.rule(reclaim={"after": "0s"}))
    site.put("run/x.dat", b"first")
    assert (site.once(), site.local) == (0, {})
    first = identity(site.share / "run/x.dat")
    site.put("run/x.dat", b"second")
    assert (site.once(), site.local) == (0, {})
    assert site.delivered == {"run/x.dat": b"first", "run/x~2.dat": b"second"}
    site.put("run/x.dat", b"third")
    assert (site.once(), site.local) == (0, {})
    assert site.delivered == {"run/x.dat": b"first", "run/x~2.dat": b"second", "run/x~3.dat": b"third"}
    site.put("run/x.dat", b"first")
    assert (site.once(), site.local) == (0, {})
    assert site.delivered == {"run/x.dat": b"first", "run/x~2.dat": b"second", "run/x~3.dat": b"third"}
    assert identity(site.share / "run/x.dat") == first
    assert len(site.deletions()) == 4


def test_another_file_under_the_name_that_no_event_told_of_keeps_the_former_copy(site: "Site") -> None:
    """Removed and written again while the agent was off, as saved by a rename: the former copy is renamed, and not touched."""
    path = site.put("x.dat", b"first")
    assert site.once() == 0
    other = site.put("other", b"second")  # there at the same time, so that its inode number is another one
    path.unlink()
    other.rename(path)
    assert site.once() == 0
    assert site.delivered == {"x.dat": b"second", "x~1.dat": b"first"}


def anew(path: Path, content: bytes) -> None:
    """Remove the file and write another one that has its inode number; skips where numbers are not used again."""
    number = path.stat().st_ino
    path.unlink()
    fillers = path.parents[1] / "fillers"
    fillers.mkdir(exist_ok=True)
    for count in range(2000):
        path.write_bytes(content)
        if path.stat().st_ino == number:
            return
        path.rename(fillers / str(count))  # it keeps its number, so that the next one is another
    pytest.skip("this file system does not use inode numbers again")


@pytest.mark.parametrize("runs", ["once", "stays"])
def test_an_inode_number_that_is_used_again_does_not_make_it_the_same_file(site: "Site", runs: str) -> None:
    """ext4 gives a new file the number of the one just removed: removed and written again while the agent was off."""
    path = site.put("x.dat", b"first")
    site.put("changed.dat", b"before")
    assert site.once() == 0
    anew(path, b"second")
    site.put("changed.dat", b"before, and so it replaces its own copy")
    expected = {
        "x.dat": b"second", "x~1.dat": b"first", "changed.dat": b"before, and so it replaces its own copy",
    }  # fmt: skip
    if runs == "once":
        assert site.once() == 0
    else:
        agent = site.start()
        site.until(lambda: site.delivered == expected, "all are there")
        assert agent.stop() == 0
    assert site.delivered == expected


def test_what_was_removed_when_only_one_destination_had_it_stays_there(site: "Site") -> None:
    """Whoever saw it there and removed it here finds it there still, though another file has its name now."""
    mirror = site.root / "mirror"
    both = {"share": {"path": "share"}, "mirror": {"path": "mirror"}}
    site.configure(site.rule(deliver=[{"to": "share"}, {"to": "mirror"}]), destinations=both)
    path = site.put("x.dat", b"first")
    assert (site.once(), site.delivered) == (1, {"x.dat": b"first"}), "the mirror is away"
    path.unlink()
    assert site.once() == 1, "the mirror is away"
    site.put("x.dat", b"second")
    mirror.mkdir()
    assert (site.once(), site.delivered) == (0, {"x.dat": b"first", "x~2.dat": b"second"})
    assert site.tree(mirror) == {"x.dat": b"second"}


def test_a_file_that_went_away_and_comes_back_is_found_under_its_own_name(site: "Site") -> None:
    """Its name was taken by a former file, so it has one of its own at the share: back again, it does not travel twice."""
    site.configure(site.rule(reclaim={"after": "0s"}))
    site.put("run/x.dat", b"first")
    assert site.once() == 0
    site.configure()
    path = site.put("run/x.dat", b"other")
    assert site.once() == 0
    expected = {"run/x.dat": b"first", "run/x~2.dat": b"other"}
    assert site.delivered == expected
    path.rename(site.root / "away")
    assert site.once() == 0
    (site.root / "away").rename(path)
    assert (site.once(), site.delivered) == (0, expected)
    path.write_bytes(b"third")
    path.chmod(0o640)
    assert (site.once(), site.delivered) == (0, {**expected, "run/x~4.dat": b"third"}), "it was away: its copy stays"


def test_a_file_under_a_reclaimed_name_that_changes_replaces_its_own_copy(site: "Site") -> None:
    """Written again after reclaim, the file has its own name; changed in place then, it replaces that copy."""
    site.configure(site.rule(reclaim={"after": "0s"}))
    site.put("x.dat", b"first")
    assert site.once() == 0
    site.configure()
    site.put("x.dat", b"second")
    assert (site.once(), site.delivered) == (0, {"x.dat": b"first", "x~2.dat": b"second"})
    with (site.inbox / "x.dat").open("ab") as file:
        file.write(b" and more")
    assert (site.once(), site.delivered) == (0, {"x.dat": b"first", "x~2.dat": b"second and more"})


def test_a_copy_of_what_is_gone_stays_though_a_later_version_is_the_same_and_changes(site: "Site") -> None:
    """Whichever names the next version tries: what it replaces is no copy that may be all that is left of a former file."""
    path = site.put("x.dat", b"two")
    assert site.once() == 0
    path.unlink()
    assert site.once() == 0
    site.put("x.dat", b"one")
    assert site.once() == 0
    with path.open("ab") as file:
        file.write(b" and more")
    assert (site.once(), site.delivered) == (0, {"x.dat": b"two", "x~2.dat": b"one and more"})
    path.unlink()
    assert site.once() == 0
    site.put("x.dat", b"two")
    assert site.once() == 0
    path.write_bytes(b"six")
    assert (site.once(), site.delivered) == (0, {"x.dat": b"two", "x~2.dat": b"one and more", "x~5.dat": b"six"})


def test_a_file_that_came_again_as_it_was_and_then_changes_leaves_the_copy_of_what_is_gone(site: "Site") -> None:
    """The same content as was reclaimed is adopted; changed in place, it goes under its own name, and nobody must act."""
    site.configure(site.rule(reclaim={"after": "0s"}))
    site.put("x.dat", b"first")
    assert site.once() == 0
    site.configure()
    path = site.put("x.dat", b"first")
    assert (site.once(), site.delivered) == (0, {"x.dat": b"first"})
    with path.open("ab") as file:
        file.write(b" and more")
    assert (site.once(), site.delivered) == (0, {"x.dat": b"first", "x~3.dat": b"first and more"})


def test_foreign_content_is_refused_and_untouched_until_a_person_acts(site: "Site") -> None:
    """What is at the share and not ours stays as it is; once it is moved away, `retry` delivers."""
    foreign = site.share / "x.dat"
    foreign.write_bytes(b"somebody else's")
    before = identity(foreign)
    site.put("x.dat", b"mine")
    site.put("y.dat", b"other")
    assert (site.once(), site.once()) == (1, 1)
    assert (site.delivered, identity(foreign)) == ({"x.dat": b"somebody else's", "y.dat": b"other"}, before)
    (line,) = site.dropline("files", "--state", "refused", "--format", "json").json
    assert line["reason"] == (
        "at share, 'x.dat' is there already, with other content, and this agent did not write it;"
        " rename one of the two, or change the rule's `path`, then `dropline retry`"
    )
    foreign.rename(site.share / "theirs.dat")
    assert site.dropline("retry").code == 0
    assert (site.once(), site.dropline("status").code) == (0, 0)
    assert site.delivered == {"x.dat": b"mine", "y.dat": b"other", "theirs.dat": b"somebody else's"}


def test_what_is_at_the_share_already_is_adopted(site: "Site") -> None:
    """Foreign identical content is taken as the copy, and after the loss of the ledger all copies are: nothing is written."""
    site.put("x.dat", b"same")
    site.put("run/y.dat", b"more")
    shutil.copyfile(site.inbox / "x.dat", site.share / "x.dat")
    foreign = identity(site.share / "x.dat")
    assert site.once() == 0
    assert identity(site.share / "x.dat") == foreign
    before = {name: identity(site.share / name) for name in site.delivered}
    shutil.rmtree(site.state)
    assert site.once() == 0
    assert {name: identity(site.share / name) for name in site.delivered} == before
    assert site.status()["files"] == {"verified": 2}
    (version,) = site.explain("run/y.dat")
    assert [copy["checksum"] for copy in version["copies"]] == [sha256(b"more")]


@pytest.mark.parametrize("change", ["gone", "grown", "a directory"])
def test_a_file_that_changes_before_it_is_delivered_goes_as_what_it_became(site: "Site", change: str) -> None:
    """Between complete and delivered: gone is noted, grown travels as its new version, a directory is walked."""
    site.share.rename(site.root / "away")
    path = site.put("x.dat", b"first")
    assert site.once() == 1
    path.unlink()
    expected: dict[str, bytes | str] = {}
    if change == "grown":
        path.write_bytes(b"first and second")
        expected = {"x.dat": b"first and second"}
    if change == "a directory":
        path.mkdir()
        (path / "in.dat").write_bytes(b"inside")
        expected = {"x.dat/in.dat": b"inside"}
    (site.root / "away").rename(site.share)
    assert (site.once(), site.delivered) == (0, expected)


# Never into a hole


def lost(site: "Site") -> None:
    (site.share / ".dropline-destination").rename(site.root / "kept")


def replaced(site: "Site") -> None:
    lost(site)
    (site.share / ".dropline-destination").write_text('{"dropline_destination": "another"}\n')


def damaged(site: "Site") -> None:
    lost(site)
    (site.share / ".dropline-destination").write_text("?")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lost, "has no .dropline-destination: the share is not mounted"),
        (replaced, "is another destination (identity another"),
        (damaged, "is not an identity file of Dropline"),
    ],
)
def test_without_its_identity_file_a_destination_is_down(
    site: "Site", spoil: "Callable[[Site], None]", reason: str
) -> None:
    """Nothing is written there or deleted here, the exit code and the reason say so; restored, all goes on."""
    site.put("x.dat", b"first")
    assert site.once() == 0
    site.configure(site.rule(reclaim={"after": "0s"}))
    site.put("y.dat", b"second")
    spoil(site)
    at_share = sorted(os.listdir(site.share))
    assert site.once() == 1
    assert (sorted(os.listdir(site.share)), site.local) == (at_share, {"x.dat": b"first", "y.dat": b"second"})
    (place,) = site.status()["destinations"]
    assert (place["up"], reason in place["reason"]) == (False, True), place["reason"]
    os.replace(site.root / "kept", site.share / ".dropline-destination")
    assert site.once() == 0
    assert (site.delivered, site.local) == ({"x.dat": b"first", "y.dat": b"second"}, {})


def test_an_absent_share_is_waited_for(site: "Site") -> None:
    """No share: exit code 1 with the reason, and it is not made; an empty directory in its place gets nothing either."""
    site.share.rmdir()
    site.put("x.dat", b"first")
    assert (site.once(), site.share.exists()) == (1, False)
    (place,) = site.status()["destinations"]
    assert place.pop("since") > 0
    assert place == {
        "proved_at": None,
        "name": "share",
        "address": str(site.share),
        "up": False,
        "refused": False,
        "reason": f"{site.share}: No such file or directory",
    }
    site.share.mkdir()
    assert (site.once(), site.delivered) == (0, {"x.dat": b"first"})
    site.put("y.dat", b"second")
    site.share.rename(site.root / "unmounted")
    assert (site.once(), site.share.exists()) == (1, False)
    site.share.mkdir()  # the empty mount point
    assert (site.once(), os.listdir(site.share)) == (1, [])
    site.share.rmdir()
    (site.root / "unmounted").rename(site.share)
    assert (site.once(), site.delivered) == (0, {"x.dat": b"first", "y.dat": b"second"})


def test_a_share_that_cannot_be_written_to_is_down(site: "Site") -> None:
    """Read-only: nothing is refused, exit code 1 with the reason; writable again, all goes on."""
    site.put("x.dat", b"first")
    assert site.once() == 0
    site.put("y.dat", b"second")
    site.share.chmod(0o555)
    assert (site.once(unprivileged=True), site.delivered) == (1, {"x.dat": b"first"})
    done = site.dropline("status", "--format", "json")
    (place,) = done.json["destinations"]
    assert (done.code, place["up"], place["reason"]) == (1, False, f"{site.share}: Permission denied")
    site.share.chmod(0o755)
    assert (site.once(unprivileged=True), site.delivered) == (0, {"x.dat": b"first", "y.dat": b"second"})
    assert site.dropline("status").code == 0


def test_of_two_destinations_one_may_be_absent(site: "Site") -> None:
    """The other gets everything meanwhile, and nothing is reclaimed until both have the proof."""
    places: dict[str, Any] = {"share": {"path": "share"}, "second": {"path": "second"}}
    deliver = [{"to": "share"}, {"to": "second", "path": "{rule}/{relpath}"}]
    site.configure(site.rule(deliver=deliver, reclaim={"after": "0s"}), destinations=places)
    content = {"a.dat": b"a", "run/b.dat": b"b" * 5000}
    for name, data in content.items():
        site.put(name, data)
    assert (site.once(), site.delivered, site.local) == (1, content, content)
    assert {place["name"]: place["up"] for place in site.status()["destinations"]} == {"share": True, "second": False}
    before = {name: identity(site.share / name) for name in content}
    (site.root / "second").mkdir()
    assert (site.once(), site.local) == (0, {})
    assert site.tree(site.root / "second") == {f"r/{name}": data for name, data in content.items()}
    assert {name: identity(site.share / name) for name in content} == before


def test_templates_say_where_files_go(site: "Site") -> None:
    """`deliver.path` is filled in from the rule, the path, the capture's groups and the modification time."""
    path = "{rule}/{mtime:%Y/%m-%d}/{run}_{dir}_{stem}_{name}{suffix}"
    site.configure(site.rule(capture=r"(?P<run>run\d+)", deliver=[{"to": "share", "path": path}]))
    site.put("run12/scan.one.h5", b"data", OLD)
    assert (site.once(), site.delivered) == (0, {"r/2001/09-09/run12_run12_scan.one_scan.one.h5.h5": b"data"})


def test_the_first_rule_that_matches_takes_the_file(site: "Site") -> None:
    """Watched directories may lie in one another, and be reached through a link."""
    (site.root / "link").symlink_to("inbox")
    site.configure(
        site.rule(name="inner", watch="link/sub", exclude=["*.log"], deliver=[{"to": "share", "path": "in/{relpath}"}]),
        site.rule(name="outer", watch="link", deliver=[{"to": "share", "path": "out/{relpath}"}]),
    )
    for name in ("sub/deep/x.dat", "sub/x.log", "x.dat"):
        site.put(name, name.encode())
    assert site.once() == 0
    assert site.delivered == {
        "in/deep/x.dat": b"sub/deep/x.dat",
        "out/sub/x.log": b"sub/x.log",
        "out/x.dat": b"x.dat",
    }


def test_a_run_over_midnight_lies_in_one_folder(site: "Site") -> None:
    """A dataset has one date, that of its first file: its supplements, too."""
    midnight = 1_700_006_400 * 10**9  # 2023-11-15 00:00 UTC
    keys = {"dataset": {"dir": "run_[0-9]+/"}, "deliver": [{"to": "share", "path": "{mtime:%Y-%m-%d}/{relpath}"}]}
    site.configure(site.rule(**keys))
    site.put("run_1/a.tif", b"a", midnight - 10**9)
    site.put("run_1/b.tif", b"b", midnight + 10**9)
    assert (site.once(), sorted(site.delivered)) == (0, ["2023-11-14/run_1/a.tif", "2023-11-14/run_1/b.tif"])
    site.put("run_1/late.tif", b"c", midnight + 40 * 10**9)
    assert (site.once(), "2023-11-14/run_1/late.tif" in site.delivered) == (0, True)


def test_a_run_whose_name_was_used_before_has_conditions_and_a_folder_for_itself(site: "Site") -> None:
    """What was delivered first is not touched, and the files of the second run keep their names."""
    run = {"dataset": {"dir": "run_[0-9]+/"}, "complete": {"quiet": "0s", "require": [{"marker": "done"}]}}
    site.configure(site.rule(reclaim={"after": "0s"}, **run))
    for name in ("a", "done"):
        site.put(f"run_1/{name}", b"first")
    assert site.once() == 0
    assert (site.once(), site.local) == (0, {}), "the marker came last, and its dataset goes as a whole"
    site.put("run_1/a", b"second")
    assert (site.once(), site.local) == (1, {"run_1/a": b"second"})
    site.put("run_1/done", b"second")
    first = {"run_1/a": b"first", "run_1/done": b"first"}
    assert (site.once(), site.delivered) == (0, first | {"run_1~2/a": b"second", "run_1~2/done": b"second"})


@pytest.mark.parametrize("by", ["dataset", "{dir}"])
@pytest.mark.parametrize("at_once", [False, True])
def test_two_datasets_that_want_one_name_keep_the_names_of_their_files(site: "Site", at_once: bool, by: str) -> None:
    """The second has a folder, whose number holds for what comes later; names that are free do not stay outside of it."""
    group = "(?P<day>[^/]+)/(?P<series>run_[0-9]+)_.*"
    site.configure(
        site.rule(dataset={"group": group}, batch={"by": by}, deliver=[{"to": "share", "path": "{series}/{name}"}])
    )
    names = ("run_1_master.h5", "run_1_data_000001.h5")
    for day in ("monday", "tuesday"):
        for name in names if day == "monday" else (*names, "run_1_data_000002.h5"):
            site.put(f"{day}/{name}", f"{day} {name}".encode())
        if not at_once:
            assert site.once() == 0
    assert site.once() == 0
    site.put("tuesday/run_1_data_000003.h5", b"tuesday, later")
    assert site.once() == 0
    places = {day: str(Path(path).parent) for path, content in site.delivered.items() for day in [content[:6]]}
    assert sorted(places.values()) == ["run_1", "run_1/run_1~2"]
    expected = {f"{places[b'monday']}/{name}": f"monday {name}".encode() for name in names} | {
        f"{places[b'tuesda']}/{name}": f"tuesday {name}".encode() for name in (*names, "run_1_data_000002.h5")
    }
    later = {f"{places[b'tuesda']}/run_1_data_000003.h5": b"tuesday, later"}
    assert site.delivered == expected | later


def test_a_group_at_the_share_may_read_what_arrives(site: "Site") -> None:
    """`mode`, `dir_mode` and `group` say who may, whatever the source says; an unknown group is refused with the next step."""
    import grp

    name = grp.getgrgid(os.getegid()).gr_name
    share = {"path": "share", "mode": "0640", "dir_mode": "0750", "group": name}
    site.configure(destinations={"share": share})
    site.put("run/x.dat", b"x").chmod(0o600)
    assert site.once() == 0
    modes = {one: stat.S_IMODE((site.share / one).stat().st_mode) for one in ("run", "run/x.dat")}
    assert modes == {"run": 0o750, "run/x.dat": 0o640}
    site.configure(destinations={"share": {**share, "group": "no-such-group"}})
    done = site.dropline("run", "--once")
    said = "there is no group 'no-such-group' on this computer; correct `group` of [destinations.share]"
    assert (done.code, said in done.err) == (2, True)


@pytest.mark.parametrize("late", [False, True])
def test_a_ring_buffer_that_removes_a_file_while_it_is_copied(site: "Site", late: bool) -> None:
    """Each destination that began has the whole file; one that comes later has none, and the reason names both."""
    other, away = site.root / "other", site.root / "away"
    other.mkdir()
    slow = {"share": {"path": "share", "bandwidth": "8MB"}, "other": {"path": "other", "bandwidth": "6MB"}}
    rule = site.rule(deliver=[{"to": "share"}, {"to": "other"}])
    site.configure(rule, destinations=slow, agent={"listen": "127.0.0.1:0"})
    site.put("first", b"x")
    assert site.once() == 0
    if late:
        other.rename(away)
    agent = site.start()
    content = os.urandom(2**24)
    ring = site.put("ring", content)
    begun = [site.share] if late else [site.share, other]

    def copied() -> bool:
        return all(any(part.stat().st_size > 2**21 for part in place.glob(".dropline-*.part")) for place in begun)

    site.until(copied, "a part of it is copied")
    ring.unlink()
    if late:
        away.rename(other)
    agent.logs("its copy at share is whole")
    whole = {"first": b"x", "ring": content}
    if late:
        left = "its copy at share is whole, and it is not proved at other: `dropline fetch` brings it back from share,"
        expected = "vanished", f"{left} then `dropline send --to other`"
    else:
        agent.logs("its copy at other is whole")
        expected = "removed", "its copy is whole"
    reason = "removed by somebody else while it was copied"

    def ended() -> bool:
        (version,) = site.explain("ring")
        return (version["state"], version["reason"]) == (expected[0], f"{reason}; {expected[1]}")

    site.until(ended, "its state and the reason")
    assert site.delivered == whole
    assert site.tree(other) == ({"first": b"x"} if late else whole)
