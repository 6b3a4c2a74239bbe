"""What the disk gives to `rules.formats.look`: real files, real writers, and writers that are killed."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import h5py
import pytest

from agent.files import LOCAL, NotAFile
from agent.files.reader import whole
from agent.intake.content import Allowance, Content
from agent.intake.texts import Texts
from rules.formats import State, companions, format_of, look

VERSIONS = {"earliest": 0, "v108": 2, "v110": 3, "latest": 3}
"""libver of h5py → version of the superblock."""

Start = Callable[[str, Path], "subprocess.Popen[bytes]"]


@pytest.fixture
def writer() -> Iterator[Start]:
    """Starts a process that writes an HDF5 file `path` and holds it; a line to its input ends it in good order."""
    started: list[subprocess.Popen[bytes]] = []

    def start(code: str, path: Path) -> "subprocess.Popen[bytes]":
        code = f"import h5py, sys; path = sys.argv[1]; {code}; print(flush=True); sys.stdin.readline(); f.close()"
        command = [sys.executable, "-P", "-c", code, str(path)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def state(path: Path) -> State:
    """What the agent finds at a path."""
    format = format_of(path.name)
    assert format is not None
    beside = {end: os.stat(f"{path}{end}").st_size for end in companions(format) if os.path.exists(f"{path}{end}")}
    with LOCAL.tree(str(path.parent)) as tree, tree.open(path.name) as handle:
        return look(format, partial(whole, handle), handle.opened.version.size, beside).state


@pytest.mark.parametrize("block", [0, 512, 4096])
@pytest.mark.parametrize("libver", VERSIONS)
def test_hdf5_is_finished_when_it_is_closed_and_truncated_when_it_is_cut(
    libver: str, block: int, tmp_path: Path
) -> None:
    """For each superblock that libhdf5 writes today, with and without a user block."""
    path = tmp_path / "scan.h5"
    with h5py.File(path, "w", libver=(libver, "latest"), userblock_size=block) as file:
        file["data"] = range(5000)
        assert state(path) is State.OPEN
        file.flush()
        assert state(path) is State.OPEN
    assert path.read_bytes()[block + 8] == VERSIONS[libver]
    assert state(path) is State.FINISHED
    with h5py.File(path, "r"):
        assert state(path) is State.FINISHED
    with h5py.File(path, "a") as file:
        file["theta"] = 1.5
        assert state(path) is State.OPEN
    os.truncate(path, path.stat().st_size - 1)
    assert state(path) is State.TRUNCATED


@pytest.mark.parametrize("libver", VERSIONS)
def test_hdf5_of_a_writer_that_was_killed_stays_open(libver: str, tmp_path: Path, writer: Start) -> None:
    """The flag is on the disk, not in the kernel."""
    path = tmp_path / "scan.h5"
    code = f"f = h5py.File(path, 'w', libver=('{libver}', 'latest')); f['data'] = range(5000); f.flush()"
    process = writer(code, path)
    assert state(path) is State.OPEN
    process.kill()
    process.wait()
    assert state(path) is State.OPEN


def test_hdf5_in_swmr_mode_is_open_until_it_is_closed(tmp_path: Path, writer: Start) -> None:
    """Its writer gives up its lock, not its flags."""
    path = tmp_path / "scan.h5"
    code = (
        "f = h5py.File(path, 'w', libver='latest'); d = f.create_dataset('d', (0,), maxshape=(None,)); "
        "f.swmr_mode = True; d.resize((9,)); d.flush()"
    )
    process = writer(code, path)
    assert state(path) is State.OPEN
    assert path.read_bytes()[11] == 0x05
    process.communicate(b"\n")
    assert state(path) is State.FINISHED


@pytest.mark.parametrize("libver", ["v108", "latest"])
def test_hdf5_that_is_split_over_files_cannot_be_told(libver: str, tmp_path: Path) -> None:
    """Its stored end is that of all parts together."""
    access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    access.set_fapl_family(20_000, h5py.h5p.create(h5py.h5p.FILE_ACCESS))
    if libver == "latest":
        access.set_libver_bounds(h5py.h5f.LIBVER_LATEST, h5py.h5f.LIBVER_LATEST)
    family = h5py.h5f.create(os.fsencode(tmp_path / "part%d.h5"), h5py.h5f.ACC_TRUNC, fapl=access)
    with h5py.File(family) as file:
        file["data"] = range(9000)
    assert {state(path) for path in tmp_path.glob("part*.h5")} == {State.CANNOT_TELL}


def test_a_look_does_not_stop_the_instrument(tmp_path: Path, writer: Start) -> None:
    """libhdf5 locks what it opens for writing: it can, while the agent has the file open."""
    path = tmp_path / "scan.h5"
    with h5py.File(path, "w") as file:
        file["data"] = 1
    with LOCAL.tree(str(tmp_path)) as tree, tree.open("scan.h5") as handle:
        process = writer("f = h5py.File(path, 'r+')", path)
        assert look("hdf5", partial(whole, handle), handle.opened.version.size).state is State.OPEN
        process.communicate(b"\n")
        assert process.returncode == 0


def test_a_database_is_finished_when_its_last_user_has_closed_it(tmp_path: Path) -> None:
    """SQLite in WAL mode, as SQLite itself leaves it; cut short it is truncated."""
    path = tmp_path / "analysis.tdf"
    users = [sqlite3.connect(path), sqlite3.connect(path)]
    users[0].execute("PRAGMA journal_mode=WAL")
    users[0].execute("CREATE TABLE frames (id INTEGER)")
    users[1].execute("SELECT * FROM frames").fetchall()
    assert state(path) is State.OPEN
    users[0].close()
    assert state(path) is State.OPEN
    users[1].close()
    assert state(path) is State.FINISHED
    os.truncate(path, path.stat().st_size - 1)
    assert state(path) is State.TRUNCATED


def test_a_database_with_a_transaction_under_way_is_open(tmp_path: Path) -> None:
    """SQLite with a rollback journal; after it, the database does not tell."""
    path = tmp_path / "frames.sqlite"
    user = sqlite3.connect(path, isolation_level=None)
    user.execute("CREATE TABLE frames (id INTEGER)")
    user.execute("BEGIN")
    user.execute("INSERT INTO frames VALUES (1)")
    assert state(path) is State.OPEN
    user.execute("COMMIT")
    assert state(path) is State.CANNOT_TELL
    user.close()


def test_a_link_is_not_followed_and_the_file_is_closed_again(tmp_path: Path) -> None:
    """As everywhere in the agent."""
    (tmp_path / "scan.h5").write_bytes(b"x" * 100)
    (tmp_path / "link.h5").symlink_to("scan.h5")
    with LOCAL.tree(str(tmp_path)) as tree:
        before = set(os.listdir("/proc/self/fd")) if sys.platform == "linux" else set()
        with tree.open("scan.h5") as handle:
            assert (whole(handle, 90, 100), whole(handle, 200, 5)) == (b"x" * 10, b"")
            assert handle.opened.version.size == 100
        with pytest.raises(NotAFile, match="link"):
            tree.open("link.h5")
        content = Content(tree, Texts())
        assert (content.read("scan.h5", 90, 100), content.read("link.h5", 0, 9)) == (b"x" * 10, b"")
        assert (content.size("scan.h5"), content.size("link.h5"), content.size("missing")) == (100, None, None)
        assert (set(os.listdir("/proc/self/fd")) if sys.platform == "linux" else set()) == before


def test_datasets_take_turns() -> None:
    """One that wants very much gets all of the first pass, and then a part like that of any other: none waits for two passes."""
    made, used = Allowance(100), dict[int, list[int]]()
    for _ in range(4):
        made.begin()
        for dataset, wants in ((1, 1000), (2, 1000), (3, 10)):
            got = 0
            while got < wants and made.allows(dataset):
                made.use(dataset, 1)
                got += 1
            used.setdefault(dataset, []).append(got)
    assert used == {1: [100, 33, 50, 33], 2: [0, 33, 50, 33], 3: [0, 10, 0, 10]}
