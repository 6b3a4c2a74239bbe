"""What must be on stable storage before what: recorded as the kernel is asked, so that no file system can hide a missing call."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.journey.conftest import DROPLINE, PATIENCE
from tests.programs import program

if TYPE_CHECKING:
    from tests.journey.conftest import Site

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="strace")
_CALLS = "fsync,fdatasync,syncfs,rename,renameat,renameat2,link,linkat,unlink,unlinkat,write,pwrite64,mkdir,mkdirat"
_WHOLE = re.compile(r"(\w+)\((.*)\) += (-?\d+)")
_AT = re.compile(r'(?:AT_FDCWD(?:<[^>]*>)?|\d+<([^>]*)>), "((?:[^"\\]|\\.)*)"')
_FD = re.compile(r"\d+<([^>]*)>")


class Call(NamedTuple):
    """A call that was done: `paths` are absolute."""

    name: str
    paths: tuple[str, ...]


def _calls(trace: Path, cwd: Path) -> Iterator[Call]:
    """The calls in the order of their ends."""
    begun: dict[str, str] = {}
    for line in trace.read_text(errors="replace").splitlines():
        thread, _, text = line.partition(" ")
        text = text.strip()
        if text.endswith("<unfinished ...>"):
            begun[thread] = text.removesuffix("<unfinished ...>")
            continue
        resumed = re.match(r"<\.\.\. \w+ resumed>", text)
        if resumed:
            text = begun.pop(thread) + text[resumed.end() :]
        found = _WHOLE.match(text)
        if found is None or int(found[3]) < 0:
            continue
        name, arguments = found[1], found[2]
        if name in ("rename", "link", "unlink", "mkdir"):
            paths = tuple(str(cwd / path) for path in re.findall(r'"((?:[^"\\]|\\.)*)"', arguments))
        elif name in ("renameat", "renameat2", "linkat", "unlinkat", "mkdirat"):
            paths = tuple(os.path.join(at or str(cwd), path) for at, path in _AT.findall(arguments))
        else:
            at = _FD.match(arguments)
            paths = (at[1],) if at else ()
        yield Call(name.removesuffix("2").removesuffix("at").replace("pwrite64", "write").replace("fdata", "f"), paths)


class Trace:
    """What a run asked of the kernel."""

    def __init__(self, site: "Site", *words: str) -> None:
        trace = site.root / "trace"
        strace = [program("strace"), "-f", "-y", "-qq", "-s", "0", "-o", str(trace), "-e", f"trace={_CALLS}"]
        done = subprocess.run(
            [*strace, *DROPLINE, *words], cwd=site.root, env=site.environment, check=False, capture_output=True,
            text=True, timeout=2 * PATIENCE,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        self.calls = list(_calls(trace, site.root))
        self.site = site

    def first(self, what: Callable[[Call], bool], after: int, why: str) -> int:
        """Where the first such call after a place is."""
        found = next((at for at, call in enumerate(self.calls) if at > after and what(call)), None)
        assert found is not None, f"{why} after {self.calls[after] if after >= 0 else 'the start'}"
        return found

    def last(self, what: Callable[[Call], bool]) -> int:
        """Where the last such call is; -1: there is none."""
        return max((at for at, call in enumerate(self.calls) if what(call)), default=-1)

    def shown(self, path: Path) -> int:
        """Where a name came to be at the share."""
        return self.first(lambda call: call.name in ("rename", "link") and call.paths[-1] == str(path), -1, f"{path}")

    def synced(self, path: Path, after: int) -> int:
        """Where a file or the names in a directory were brought to stable storage."""
        inside = (str(self.site.share), str(self.site.inbox))
        top = next((one for one in inside if str(path).startswith(one)), "-")

        def covers(call: Call) -> bool:
            return (call.name == "fsync" and call.paths == (str(path),)) or (
                call.name == "syncfs" and call.paths[0].startswith(top)
            )

        return self.first(covers, after, f"sync of {path}")

    def committed(self, after: int) -> int:
        """Where the ledger was brought to stable storage."""
        wal = str(self.site.state / "ledger.sqlite-wal")
        return self.first(lambda call: call == Call("fsync", (wal,)), after, "a commit of the ledger")

    def removed(self, path: Path) -> tuple[int, int]:
        """Where a local file was renamed aside, and where it was unlinked."""
        moved = self.first(lambda call: call.name in ("rename", "link") and call.paths[0] == str(path), -1, f"{path}")
        aside = self.calls[moved].paths[-1]
        return moved, self.first(
            lambda call: call.name == "unlink" and call.paths[0] == aside, moved, f"unlink {aside}"
        )

    def delivered(self, path: Path) -> int:
        """The law of a new file at the share. Returns where the ledger knew of it."""
        shown = self.shown(path)
        temporary = self.calls[shown].paths[0]
        written = self.last(lambda call: call.name == "write" and call.paths == (temporary,))
        assert self.synced(Path(temporary), written) < shown, "content, then name"
        names = self.synced(path.parent, shown)
        for above in path.parents:
            made = self.last(lambda call, above=above: call == Call("mkdir", (str(above),)))  # type: ignore[misc]
            if made >= 0:
                names = max(names, self.synced(above.parent, made))
        return self.committed(names)

    def reclaimed(self, path: Path, known: int) -> None:
        """The law of a local file, of which the ledger knew there that it was delivered."""
        record = str(self.site.state / "deletions.jsonl")
        moved, unlinked = self.removed(path)
        assert self.committed(known) < moved, "the intent, then the rename"
        gone = self.synced(path.parent, unlinked)
        noted = self.first(lambda call: call == Call("write", (record,)), gone, "the record of the deletion")
        written = self.first(lambda call: call == Call("fsync", (record,)), noted, "sync of the record")
        self.committed(written)


def at_once(site: "Site") -> None:
    site.configure(site.rule(reclaim={"after": "0s"}))


@pytest.mark.parametrize("count", [1, 5])
def test_content_name_directory_ledger_unlink(site: "Site", count: int) -> None:
    """Of a file by itself and of many: each step is durable before the next, at the share, in the ledger and here."""
    at_once(site)
    names = [f"run/sub{number}/{number}.dat" for number in range(count)]
    for name in names:
        site.put(name, b"x" * 3000)
    trace = Trace(site, "run", "--once")
    assert (site.local, set(site.delivered)) == ({}, set(names))
    for name in names:
        trace.reclaimed(site.inbox / name, trace.delivered(site.share / name))


@pytest.mark.parametrize("count", [1, 5])
def test_what_is_adopted_is_made_durable(site: "Site", count: int) -> None:
    """Somebody else wrote it, to the page cache perhaps: content and name, then the ledger, then the unlink."""
    at_once(site)
    names = [f"run/{number}.dat" for number in range(count)]
    (site.share / "run").mkdir()
    for name in names:
        site.put(name, b"x" * 3000)
        (site.share / name).write_bytes(b"x" * 3000)
    trace = Trace(site, "run", "--once")
    assert site.local == {}
    known = trace.committed(
        max(trace.synced(site.share / "run", -1), *(trace.synced(site.share / n, -1) for n in names))
    )
    for name in names:
        trace.reclaimed(site.inbox / name, known)


def test_a_name_of_its_own_is_made_durable(site: "Site") -> None:
    """A new file under a name that was reclaimed: the same order."""
    at_once(site)
    site.put("run/x.dat", b"first")
    assert site.once() == 0
    site.put("run/x.dat", b"second")
    trace = Trace(site, "run", "--once")
    assert site.delivered == {"run/x.dat": b"first", "run/x~2.dat": b"second"}
    trace.reclaimed(site.inbox / "run/x.dat", trace.delivered(site.share / "run/x~2.dat"))


def test_the_name_of_a_new_record_is_made_durable(site: "Site") -> None:
    """The first deletion makes deletions.jsonl: its directory is synced before the ledger forgets the intent."""
    at_once(site)
    site.put("x.dat", b"x")
    trace = Trace(site, "run", "--once")
    written = trace.last(lambda call: call == Call("fsync", (str(site.state / "deletions.jsonl"),)))
    state = trace.first(lambda call: call == Call("fsync", (str(site.state),)), written, "sync of the state directory")
    trace.committed(state)


def test_what_goes_to_the_trash_is_durable_there(site: "Site") -> None:
    """The trash and the folders in it, then the place where it was."""
    site.configure(site.rule(reclaim={"after": "0s", "trash": "7d"}))
    site.put("run/x.dat", b"x")
    trace = Trace(site, "run", "--once")
    (name,) = site.local
    moved = trace.first(
        lambda call: call.name == "rename" and call.paths[0] == str(site.inbox / "run/x.dat"), -1, "moved"
    )
    there = trace.synced((site.inbox / name).parent, moved)
    for above in list((site.inbox / name).parents):
        if above != site.inbox and site.inbox in above.parents:
            made = trace.first(lambda call, above=above: call == Call("mkdir", (str(above),)), -1, f"{above}")  # type: ignore[misc]
            there = max(there, trace.synced(above.parent, made))
    assert there < trace.synced(site.inbox / "run", moved)
