"""What only a real Windows can show. `python -m tests.windows.acceptance` takes about an hour there, and leaves its result.

It prints the table of docs/WINDOWS.md with what it saw. `power FOLDER` and `power-after FOLDER` test the power switch.
"""

import argparse
import ctypes
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, NamedTuple

if sys.platform != "win32":
    raise SystemExit("run it on Windows; under Wine tests/windows/test_acceptance.py does")

from agent.files import LOCAL, NotAFile, Trouble
from agent.files.windows.yielding import YieldingHandle
from agent.host import acceptance
from rules.model import Kind, Observation, Writer
from tests.windows.instrument import MODES, SharedPen

_windows: Any = ctypes
"""Other systems have none of its names, and the types are checked there."""
DROPLINE: Final = [sys.executable, "-P", "-c", "from agent.cli import main; main()"]
SUITES: Final = ["tests/rules", "tests/contract", "tests/journey", "tests/windows"]
PATIENCE: Final = 120.0
WITHIN: Final = 0.25
"""Seconds in which a program that wants a file gets it, while the agent reads the file."""
LARGE: Final = 256 * 2**20
FILES: Final = 20
"""Files that the instrument appends to in turn."""


class Seen(NamedTuple):
    """What came of one check."""

    good: bool
    what: str


def wine() -> str | None:
    """The version of Wine; None: it is a Windows."""
    ntdll = _windows.WinDLL("ntdll")
    if not hasattr(ntdll, "wine_get_version"):
        return None
    ntdll.wine_get_version.restype = ctypes.c_char_p
    return str(ntdll.wine_get_version().decode())


@contextmanager
def agent(folder: Path, reclaim: str = "") -> Iterator[None]:
    """The agent at work on `inbox`, delivering to `share`."""
    for name in ("inbox", "share"):
        (folder / name).mkdir(exist_ok=True)
    (folder / "dropline.toml").write_text(
        "agent = { state_dir = 'state', listen = '', sweep_every = '2s' }\n"
        "destinations.share = { path = 'share', mounted = false }\n"
        "[[rules]]\nname = 'r'\nwatch = 'inbox'\nexclude = ['*.tmp/**']\ncomplete.quiet = '200ms'\n"
        f"deliver = [{{ to = 'share' }}]\n{reclaim}\n",
        "utf-8",
    )
    with (
        (folder / "agent.log").open("ab") as log,
        subprocess.Popen([*DROPLINE, "run"], cwd=folder, stdin=subprocess.PIPE, stdout=log, stderr=log) as run,
    ):
        try:
            assert _until(lambda: b"sweep of" in (folder / "agent.log").read_bytes()), "the agent does not start"
            yield
        finally:
            run.kill()  # it must be able to go on after that


def _until(true: Callable[[], bool]) -> bool:
    """Wait until it is so; False: it does not become so."""
    until = time.monotonic() + PATIENCE
    while not true():
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def cycles(folder: Path, count: int) -> Seen:
    """A program opens, appends and closes beside the agent, each tenth time for itself alone."""
    failed: list[OSError] = []
    with agent(folder):
        for number in range(count):
            path = folder / f"inbox/{number // (FILES * 50)}-{number % FILES}.raw"
            try:
                pen = SharedPen(path, MODES["exclusive"] if number % 10 == 0 else MODES["denies writing"])
                pen.write(b"x" * 100)
                pen.close()
            except OSError as error:
                failed.append(error)
            if number % 500 == 0:
                time.sleep(0.5)  # the agent reads what is quiet
    last = f", such as {failed[-1]}" if failed else ""
    return Seen(not failed, f"{len(failed)} of {count} opens failed{last}")


def renames(folder: Path, count: int) -> Seen:
    """A program renames its folders when they are written, and again when the agent has seen them."""
    failed: list[OSError] = []
    with agent(folder):
        for number in range(count):
            made = folder / f"inbox/{number}.tmp"
            made.mkdir()
            for name in "abc":
                (made / name).write_bytes(name.encode() * 100_000)
            for target in (f"{number}.d", f"{number}.done"):
                try:
                    made = made.rename(made.with_name(target))
                except OSError as error:
                    failed.append(error)
                time.sleep(0.1)
    last = f", such as {failed[-1]}" if failed else ""
    return Seen(not failed, f"{len(failed)} of {2 * count} renames failed{last}")


def exclusive(folder: Path, count: int) -> Seen:
    """A program opens a file for itself alone while the file is read, and renames the folder above it."""
    (folder / "run").mkdir()
    path = folder / "run/large.raw"
    with path.open("wb") as file:
        file.truncate(LARGE)
    slow, failed = 0.0, 0
    for _ in range(count):
        with LOCAL.tree(folder.as_posix()) as tree, tree.open("run/large.raw") as handle:
            reader = threading.Thread(target=_read, args=(handle,))
            reader.start()
            begun = time.monotonic()
            try:
                SharedPen(path, MODES["exclusive"]).close()
                (folder / "run").rename(folder / "other")
                (folder / "other").rename(folder / "run")
            except OSError:
                failed += 1
            slow = max(slow, time.monotonic() - begun)
            reader.join()
    return Seen(not failed and slow < WITHIN, f"{failed} of {count} failed, the slowest took {slow * 1000:.0f} ms")


def _read(handle: Any) -> None:
    block, at = memoryview(bytearray(2**20)), 0
    try:
        while length := handle.read_into(block, at):
            at += length
    except Trouble:
        return  # it was given up


def oplocks(folder: Path, count: int) -> Seen:
    """The file system grants a filter oplock of a file that nobody has open, and another of one that is open."""
    (folder / "a.raw").write_bytes(b"x")
    with LOCAL.tree(folder.as_posix()) as tree:
        with tree.open("a.raw") as handle:
            alone = isinstance(handle, YieldingHandle) and handle._oplock.alone
            quiet = handle.writer()
        pen = SharedPen(folder / "a.raw", MODES["denies nothing"])
        with tree.open("a.raw") as handle:
            shared = isinstance(handle, YieldingHandle) and handle._oplock.granted and not handle._oplock.alone
            busy = handle.writer()
        pen.close()
    good = alone and shared and (quiet, busy) == (Writer.NONE, Writer.OPEN)
    return Seen(
        good, f"filter oplock {'granted' if alone else 'refused'}, read-handle {'granted' if shared else 'refused'}"
    )


def links(folder: Path, count: int) -> Seen:
    """A junction is a link, which is not followed, and neither is a symbolic link where one can be made."""
    (folder / "outside").mkdir()
    (folder / "outside/secret").write_bytes(b"x")
    made = subprocess.run(
        ["cmd", "/c", "mklink", "/J", "junction", "outside"], cwd=folder, capture_output=True, check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    if made.returncode or not (folder / "junction").exists():
        return Seen(False, "no junction could be made")
    with LOCAL.tree(folder.as_posix()) as tree:
        seen = tree.look("junction")
        refused = not isinstance(tree.look("junction/secret"), Observation)
        try:
            tree.open("junction/secret").close()
            refused = False
        except Trouble:
            pass
    good = isinstance(seen, Observation) and seen.kind is Kind.LINK and refused
    return Seen(good, "a junction is refused" if good else "a junction was followed")


def sizes(folder: Path, count: int) -> Seen:
    """A file that grows while it is open has its real size by a handle, whatever its folder lists."""
    pen = SharedPen(folder / "grows.raw", MODES["denies nothing"])
    pen.write(b"x" * 10)
    with LOCAL.tree(folder.as_posix()) as tree:
        (listed,) = tree.scan("", 100)
        shown = [entry[1] for entry in listed.entries]
        seen = tree.look("grows.raw")
    pen.close()
    good = isinstance(seen, Observation) and seen.version.size == 10
    return Seen(
        good, f"a handle says {seen.version.size if isinstance(seen, Observation) else '?'}, the folder {shown}"
    )


def removal(folder: Path, count: int) -> Seen:
    """The agent deletes what is proved, and keeps what a program has open."""
    for number in range(20):
        (folder / "inbox").mkdir(exist_ok=True)
        (folder / f"inbox/{number}.raw").write_bytes(_content(number))
    kept = (folder / "inbox/7.raw").open("rb")
    open_too = SharedPen(folder / "inbox/8.raw", MODES["denies nothing"])
    with kept, agent(folder, "reclaim = { after = '0s', min_age = '1s' }"):
        left = {"8.raw"}

        def gone() -> bool:
            return {path.name for path in (folder / "inbox").glob("*.raw")} <= left | {"7.raw"}

        done = _until(gone)
    open_too.close()
    whole = all(
        (folder / f"share/{number}.raw").read_bytes() == _content(number) for number in range(20) if number != 8
    )
    there = (folder / "inbox/8.raw").exists()
    return Seen(done and whole and there, f"deleted: {done}, copies whole: {whole}, an open file kept: {there}")


def suites(folder: Path, count: int) -> Seen:
    """The suites of this checkout."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider", *SUITES], stdin=subprocess.DEVNULL,
        capture_output=True, check=False, text=True, errors="replace",
    )  # fmt: skip
    return Seen(done.returncode == 0, done.stdout.strip().rpartition("\n")[2])


CHECKS: Final[dict[str, tuple[Callable[[Path, int], Seen], int]]] = {
    "an instrument that opens, appends and closes beside the agent": (cycles, 1),
    "renames of a folder while the agent reads below it": (renames, 200),
    "a file that a program wants while it is read": (exclusive, 1000),
    "oplocks": (oplocks, 1),
    "links and junctions": (links, 1),
    "the size of a file that grows while it is open": (sizes, 1),
    "deletion of what is proved": (removal, 1),
    "the suites": (suites, 1),
}
"""Row of the table in docs/WINDOWS.md → its check, and for how many cycles it is done once."""


def _content(number: int) -> bytes:
    return f"{number:08}".encode() * 5000


def table(found: dict[str, Seen], system: str) -> str:
    """For docs/WINDOWS.md."""
    rows = [f"| {name} | {'yes' if one.good else '**no**'}: {one.what} |" for name, one in found.items()]
    return "\n".join([f"| | on {system} |", "|---|---|", *rows])


def power(folder: Path) -> None:
    """Write, deliver and delete files until the power goes."""
    with agent(folder, "reclaim = { after = '0s', min_age = '1s' }"):
        print("When lines come, hold the power button until the computer is off. Start it, and run:")
        print(f"    python -m tests.windows.acceptance power-after {folder}", flush=True)
        number = 0
        while True:
            (folder / f"inbox/{number}.raw").write_bytes(_content(number))
            number += 1
            if number % 100 == 0:
                print(f"{number} files, {len(list((folder / 'share').glob('*.raw')))} at the share", flush=True)
            time.sleep(0.02)


def power_after(folder: Path) -> Seen:
    """Whether each file that was deleted is at the share, and each file at the share is whole."""
    log = folder / "state/deletions.jsonl"
    deleted = [
        json.loads(line)["path"] for line in log.read_text("utf-8", "replace").splitlines() if line.endswith("}")
    ]
    bad = [path.name for path in (folder / "share").glob("*.raw") if path.read_bytes() != _content(int(path.stem))]
    lost = [path for path in deleted if not (folder / "share" / Path(path).name).exists()]
    return Seen(not bad and not lost, f"{len(deleted)} were deleted here; lost: {lost[:3]}; not whole: {bad[:3]}")


def leave(result: acceptance.Result) -> Path:
    """Write it down for every agent of this computer."""
    path = Path(acceptance.place())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(result)), "utf-8")
    return path


def main() -> int:
    """0: everything passed."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--cycles", type=int, default=acceptance.CYCLES, help="how often the instrument opens a file")
    options.add_argument("--without", action="append", default=[], help="a row that is left out")
    options.add_argument("--folder", type=Path, help="on the disk that the instrument writes to")
    options.add_argument("power", nargs="*", help="power FOLDER, or power-after FOLDER")
    given = options.parse_args()
    if given.power:
        what, folder = given.power
        if what == "power":
            power(Path(folder).absolute())
        seen = power_after(Path(folder).absolute())
        print("whole" if seen.good else "NOT WHOLE", seen.what)
        return 0 if seen.good else 1
    found = {}
    for name, (check, per) in CHECKS.items():
        if name in given.without:
            continue
        folder = Path(tempfile.mkdtemp(prefix="dropline-acceptance-", dir=given.folder))
        try:
            found[name] = check(folder, max(given.cycles // per, 1))
        except (OSError, NotAFile, Trouble) as error:
            found[name] = Seen(False, repr(error))
        print(f"{'passed' if found[name].good else 'FAILED'}: {name}: {found[name].what}", flush=True)
        shutil.rmtree(folder, ignore_errors=True)
    emulated = wine()
    system = f"Wine {emulated}" if emulated else f"Windows {platform.version()}"
    result = acceptance.Result(
        system=system, at=time.time(), cycles=given.cycles, wine=emulated is not None,
        failed=[name for name in CHECKS if name not in found or not found[name].good],
    )  # fmt: skip
    print("", table(found, system), "", sep="\n")
    why = result.lacks
    if why is None:
        print(f"The result is in {leave(result)}: Dropline deletes files here without a warning.")
    else:
        print(f"No result is left on this computer: {why}")
    print("Then test the power switch: python -m tests.windows.acceptance power FOLDER says how.")
    return 1 if result.failed else 0


if __name__ == "__main__":
    os.chdir(Path(__file__).resolve().parents[2])
    raise SystemExit(main())
