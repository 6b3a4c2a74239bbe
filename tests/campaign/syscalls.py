"""Each system call on a watched file, a destination or the ledger fails once, with each error that it may return.

The errors come from outside (strace injects them), so this outlives every refactoring. A run delivers two files, proves
and deletes them; one of its calls fails. Whatever comes of it: nothing is lost, nothing is torn, nothing is deleted without a
whole copy, the file that had no error arrives, and the next run, with a person's `dropline retry`, brings everything.

    python -m tests.campaign.syscalls                    # the table: the first call of each kind
    python -m tests.campaign.syscalls --deep             # each call, not only the first: hours
    python -m tests.campaign.syscalls --only watched:renameat2
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from agent.destinations.directory.writer import temporary_name
from agent.ledger import Ledger

PATIENCE = 120
"""Seconds for one run under strace."""
CONTENT = {"a.dat": b"a" * 70_000, "b.dat": b"b" * 70_000}
_LOOK = ["EACCES", "EIO", "ELOOP", "ENOENT", "ENOMEM", "ENOTDIR", "ESTALE", "ETIMEDOUT"]
_OPEN = [*_LOOK, "EMFILE", "ENFILE", "EPERM"]
_READ = ["EIO", "ENOMEM", "ESTALE", "ETIMEDOUT", "EISDIR"]
_SPACE = ["EDQUOT", "EIO", "ENOSPC", "EROFS"]
_NAME = ["EACCES", "EBUSY", "EPERM", "ESTALE", "ENOENT", *_SPACE]
TABLE: dict[str, dict[str, list[str]]] = {
    "watched": {
        "openat": _OPEN, "newfstatat": _LOOK, "preadv2": _READ, "pread64": _READ, "getdents64": _READ,
        "fcntl": ["EACCES", "EAGAIN", "EINVAL", "ENOLCK"], "close": ["EIO"], "fsync": ["EIO", "EINVAL"],
        "renameat": [*_NAME, "EXDEV"], "renameat2": [*_NAME, "EINVAL", "EXDEV"], "unlinkat": _NAME, "statfs": ["EIO", "ENOSYS"],
    },
    "destination": {
        "openat": [*_OPEN, *_SPACE, "ENAMETOOLONG"], "newfstatat": _LOOK, "preadv2": _READ, "mkdirat": [*_NAME, "EMLINK"],
        "pwrite64": [*_SPACE, "EFBIG", "EPERM"], "fsync": _SPACE, "fdatasync": _SPACE, "syncfs": _SPACE, "close": ["EIO"],
        "renameat2": [*_NAME, "EINVAL", "EXDEV", "EMLINK"], "unlinkat": _NAME, "utimensat": ["EACCES", "EIO", "EPERM", "EROFS"],
        "getdents64": _READ, "ftruncate": ["EFBIG", "EIO", "EPERM"], "statfs": ["EIO", "ENOSYS"],
    },
    "ledger": {
        "openat": _OPEN, "pread64": _READ, "pwrite64": _SPACE, "fsync": _SPACE, "fdatasync": _SPACE, "ftruncate": ["EIO", "ENOSPC"],
        "unlinkat": ["EACCES", "EIO", "EROFS"], "fcntl": ["EIO", "ENOLCK"], "mmap": ["ENOMEM"],
    },
}  # fmt: skip
"""What fails → system call → the errors that its manual page gives."""


class Case(NamedTuple):
    """One call that fails."""

    where: str
    call: str
    error: str
    when: int = 1

    def __str__(self) -> str:
        return f"{self.where}:{self.call}:{self.error}:{self.when}"


class Scene:
    """A watched folder, a destination, a state directory; two files on their way, the first of which has the error."""

    def __init__(self, root: Path, dropline: Sequence[str]) -> None:
        self.root = root
        self.inbox, self.share, self.state = root / "inbox", root / "share", root / "state"
        self._dropline = [*dropline]
        self.inbox.mkdir(parents=True)
        self.share.mkdir()
        rule = 'complete = { quiet = "0s" }, batch = { linger = "0s" }, reclaim = { after = "0s", min_age = "0s" }'
        (root / "dropline.toml").write_text(
            f'agent = {{ state_dir = "state", listen = "" }}\n'
            f'destinations = {{ share = {{ transport = "directory", path = "share", mounted = false }} }}\n'
            f'rules = [{{ name = "r", watch = "inbox", {rule}, deliver = [{{ to = "share", path = "copy-{{name}}" }}] }}]\n'
        )
        (self.inbox / "first.dat").write_bytes(b"sets everything up")
        first = self.run("-y", "-e", "trace=openat")
        assert first.code == 0, first.log
        ledger = Ledger(str(self.state / "ledger.sqlite"))
        key = ledger.key
        ledger.close()
        number = next(number for number in range(100) if temporary_name(key, number) in first.calls)
        self.parts = [temporary_name(key, number + more) for more in (1, 2)]
        for name, content in CONTENT.items():
            (self.inbox / name).write_bytes(content)

    def paths(self, where: str) -> list[str]:
        """What strace is to look for: whole paths for descriptors, last parts for names below a descriptor."""
        if where == "watched":
            return [str(self.inbox / "a.dat"), "a.dat"]
        if where == "destination":
            names = ["copy-a.dat", *self.parts]
            return [str(self.share), *(str(self.share / name) for name in names), *names]
        return [str(self.state / f"ledger.sqlite{end}") for end in ("", "-wal", "-shm")]

    def run(self, *strace: str) -> "Ran":
        """One run, under strace where options are given."""
        log = self.root / "strace"
        before = ["strace", "-f", "-qq", "-o", str(log), *strace] if strace else []
        process = subprocess.Popen(
            [*before, *self._dropline, "run", "--once"], cwd=self.root, stdin=subprocess.DEVNULL, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        )  # fmt: skip
        try:
            said, _ = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.communicate()
            return Ran(None, "it did not end", "")
        return Ran(process.returncode, said, log.read_text(errors="replace") if strace else "")

    def retry(self) -> None:
        """A person acts: what is refused or failed is tried again."""
        subprocess.run(
            [*self._dropline, "retry"], cwd=self.root, stdin=subprocess.DEVNULL, capture_output=True, check=False
        )


class Ran(NamedTuple):
    """How a run ended."""

    code: int | None
    """None: it did not end in time."""
    log: str
    calls: str
    """What strace printed."""


def wrong(scene: Scene) -> Iterator[str]:
    """Promises that are broken as things are now."""
    here = {path.read_bytes() for path in scene.inbox.rglob("*") if path.is_file() and path.stat().st_size}
    for name, content in CONTENT.items():
        copy = scene.share / f"copy-{name}"
        there = copy.read_bytes() if copy.exists() else None
        if there is not None and there != content:
            yield f"{copy.name} is torn"
        if there != content and content not in here:
            yield f"{name} is lost"
    record = scene.state / "deletions.jsonl"
    for line in record.read_bytes().splitlines() if record.exists() else []:
        try:
            json.loads(line)
        except ValueError:
            yield "the record of deletions is torn"


def judge(case: Case, root: Path, dropline: Sequence[str]) -> tuple[int, list[str]]:
    """How often the call failed, and what is wrong after that."""
    scene = Scene(root, dropline)
    chosen = [word for path in scene.paths(case.where) for word in ("-P", path)]
    inject = f"inject={case.call}:error={case.error}:when={case.when}"
    ran = scene.run("-e", f"trace={case.call}", "-e", inject, *chosen)
    found = list(wrong(scene))
    if ran.code is None:
        found.append("it did not end")
    if "Traceback" in ran.log:
        found.append("it logged a traceback")
    if case.where == "watched" and not (scene.share / "copy-b.dat").exists():
        found.append("the other file did not arrive")
    scene.retry()
    again = scene.run()
    found += wrong(scene)
    if again.code != 0:
        found.append(f"the next run ended with {again.code}: {again.log[-600:]}")
    missing = [name for name in CONTENT if not (scene.share / f"copy-{name}").exists()]
    if missing:
        found.append(f"{missing} did not arrive")
    left = sorted(path.name for path in scene.inbox.rglob("*") if path.is_file())
    if left and not missing:
        found.append(f"still here: {left}")
    return ran.calls.count("(INJECTED)"), list(dict.fromkeys(found))


def cases(only: str = "") -> list[Case]:
    """The table, as cases."""
    calls = [(where, call, errors) for where, some in TABLE.items() for call, errors in some.items()]
    found = [Case(where, call, error) for where, call, errors in calls for error in dict.fromkeys(errors)]
    return [case for case in found if str(case).startswith(only)]


def main() -> int:
    """Print what is wrong of each case. Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="cases whose name starts so: watched, ledger:pwrite64, ...")
    parser.add_argument("--deep", action="store_true", help="each call of a run, not only the first")
    parser.add_argument("--sample", type=int, help="so many cases, by chance")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    left = cases(chosen.only)
    if chosen.sample is not None:
        left = random.Random(chosen.seed).sample(left, min(chosen.sample, len(left)))  # noqa: S311  (a seed, to see it again)
    tried = struck = bad = 0
    while left:
        case = left.pop(0)
        folder = Path(tempfile.mkdtemp(prefix="dropline-syscalls-"))
        failed_calls, found = judge(
            case, folder / "user", [sys.executable, "-P", "-c", "from agent.cli import main; main()"]
        )
        tried, struck, bad = tried + 1, struck + bool(failed_calls), bad + bool(found)
        if found:
            print(f"{case}: {'; '.join(found)}\n    see {folder}", flush=True)
        else:
            shutil.rmtree(folder)
        if chosen.deep and failed_calls:
            left.insert(0, case._replace(when=case.when + 1))
    print(f"{tried} cases, {struck} in which a call failed, {bad} bad")
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())
