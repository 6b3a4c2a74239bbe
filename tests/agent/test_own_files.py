"""The agent's own files: whole or not at all, for their owner alone, and "cannot tell" is not "not there"."""

import os
import stat
import sys
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from agent.host import own_files
from agent.observe.textfile import Textfile


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It gets its mode whatever the umask is; a write that fails leaves the former one, and nothing beside it."""
    path = tmp_path / "metrics.prom"
    former = os.umask(0o077)
    try:
        own_files.write_whole(path, b"one", 0o644)
    finally:
        os.umask(former)
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"one", 0o644)
    own_files.write_whole(path, b"two", 0o600, durably=True)
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"two", 0o600)

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        own_files.write_whole(path, b"three", 0o600, durably=True)
    assert [(one.name, one.read_bytes()) for one in tmp_path.iterdir()] == [("metrics.prom", b"two")]


def _victim(path: Path, kind: str) -> None:
    """What somebody else put at a name."""
    victim = path.parent.with_name("victim")
    victim.write_bytes(b"the only copy")
    victim.chmod(0o600)
    if kind == "hard link":
        path.hardlink_to(victim)
    elif kind == "link":
        path.symlink_to(victim)
    else:
        os.mkfifo(path)


@pytest.mark.parametrize("kind", ["hard link", "link", "FIFO"])
@pytest.mark.parametrize("name", ["dropline.prom", ".dropline.prom.fresh"])
def test_metrics_are_not_written_through_what_somebody_put_there(tmp_path: Path, kind: str, name: str) -> None:
    """Neither at the name of the file nor at one that it might be written under first."""
    (tmp_path / "textfile").mkdir()
    _victim(tmp_path / "textfile" / name, kind)
    textfile = Textfile(tmp_path / "textfile/dropline.prom", CollectorRegistry())
    assert textfile.step(0.0) > 0.0
    written = os.lstat(tmp_path / "textfile/dropline.prom")
    assert (stat.S_ISREG(written.st_mode), written.st_nlink, written.st_mode & 0o777) == (True, 1, 0o644)
    victim = tmp_path / "victim"
    assert (victim.read_bytes(), victim.stat().st_mode & 0o777) == (b"the only copy", 0o600)


def test_the_log_is_its_owners_alone(tmp_path: Path) -> None:
    """Whatever the umask and an earlier version made of it; a link is not followed."""
    path = tmp_path / "state/log/dropline.log"
    before = os.umask(0)
    try:
        own_files.BoundedLog(path, 100).close()
        assert [one.stat().st_mode & 0o777 for one in (tmp_path / "state", path.parent, path)] == [0o700, 0o700, 0o600]
        path.chmod(0o644)
        path.parent.chmod(0o755)
        own_files.BoundedLog(path, 100).close()
        assert [one.stat().st_mode & 0o777 for one in (path.parent, path)] == [0o700, 0o600]
    finally:
        os.umask(before)
    path.unlink()
    _victim(path, "link")
    with pytest.raises(OSError, match="Too many levels"):
        own_files.BoundedLog(path, 100)


def test_a_file_in_the_current_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name alone is enough."""
    monkeypatch.chdir(tmp_path)
    own_files.write_whole("x", b"1", 0o600)
    assert (tmp_path / "x").read_bytes() == b"1"


def test_what_is_appended_is_private_and_follows_no_link(tmp_path: Path) -> None:
    """The record of deletions is nobody else's, and nobody can make it another file."""
    path = tmp_path / "deletions.jsonl"
    for line in (b"a\n", b"b\n"):
        own_files.append_durably(path, line)
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"a\nb\n", 0o600)
    (tmp_path / "link").symlink_to(path)
    with pytest.raises(OSError, match="Too many levels"):
        own_files.append_durably(tmp_path / "link", b"c\n")


def test_what_is_appended_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call of the system may take a part only; where the rest does not follow, nothing stays for the next to run into."""
    path = tmp_path / "deletions.jsonl"
    own_files.append_durably(path, b"first\n")
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, bytes(data)[:2]))
    own_files.append_durably(path, b"second\n")
    assert path.read_bytes() == b"first\nsecond\n"
    left = [3]

    def full(fd: int, data: bytes) -> int:
        if not left:
            raise OSError(28, "No space left on device")
        return write(fd, bytes(data)[: left.pop()])

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space left"):
        own_files.append_durably(path, b"third\n")
    assert path.read_bytes() == b"first\nsecond\n"


@pytest.mark.parametrize("length", [1, 70_000, 200_000])
@pytest.mark.parametrize("whole", [b"", b"{}\n", b"x" * 100_000 + b"\n"])
def test_a_torn_line_is_cut_off(tmp_path: Path, whole: bytes, length: int) -> None:
    """However long it is, and whether a line comes before it; whole lines stay as they are."""
    path = tmp_path / "deletions.jsonl"
    assert own_files.mend_lines(path) == b""
    assert not path.exists()
    path.write_bytes(whole)
    assert own_files.mend_lines(path) == b""
    path.write_bytes(whole + b"{" * length)
    assert own_files.mend_lines(path) == b"{" * length
    assert path.read_bytes() == whole


def test_what_is_cut_off_is_no_link(tmp_path: Path) -> None:
    """Nobody can make it another file."""
    (tmp_path / "other").write_bytes(b"theirs")
    (tmp_path / "link").symlink_to(tmp_path / "other")
    with pytest.raises(OSError, match="Too many levels"):
        own_files.mend_lines(tmp_path / "link")
    assert (tmp_path / "other").read_bytes() == b"theirs"


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_a_new_name_is_made_durable_after_what_it_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is appended: content, then the directory where the file is new. What is written whole: the name, too."""
    calls: list[str] = []
    fsync, replace = os.fsync, os.replace

    def noted(fd: int) -> None:
        calls.append(os.path.relpath(os.readlink(f"/proc/self/fd/{fd}"), tmp_path).partition("-")[0])
        fsync(fd)

    def renamed(source: str, target: str) -> None:
        calls.append("rename")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", noted)
    monkeypatch.setattr(os, "replace", renamed)
    for _ in range(2):
        own_files.append_durably(tmp_path / "a", b"x\n")
    assert calls == ["a", ".", "a"]
    calls.clear()
    own_files.write_whole(tmp_path / "b", b"x", 0o600, durably=True)
    assert calls == [".b", "rename", "."]


def test_a_new_file_replaces_nothing(tmp_path: Path) -> None:
    """Not even a link to nowhere."""
    (tmp_path / "link").symlink_to("nowhere")
    for name in ("new", "link"):
        if name == "new":
            own_files.create(tmp_path / name).close()
        with pytest.raises(FileExistsError):
            own_files.create(tmp_path / name)
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o600


def test_no_more_is_read_than_is_wanted(tmp_path: Path) -> None:
    """One byte more says that there is more; the end of a file comes without its beginning."""
    path = tmp_path / "x"
    path.write_bytes(b"0123456789")
    assert own_files.read_bounded(path, 10)[0] == b"0123456789"
    assert own_files.read_bounded(path, 4)[0] == b"01234"
    assert (own_files.last_bytes(path, 3), own_files.last_bytes(path, 30)) == (b"789", b"0123456789")


def test_what_cannot_be_told_is_not_absent(tmp_path: Path) -> None:
    """A name that is too long to be asked for, as one in a directory that is closed to the agent, is no answer."""
    (tmp_path / "file").touch()
    assert own_files.exists(tmp_path / "file")
    assert not own_files.exists(tmp_path / "none")
    assert not own_files.exists(tmp_path / "file/below")
    with pytest.raises(OSError, match="too long"):
        own_files.exists(tmp_path / ("x" * 300))


def test_others_lose_what_they_may_do(tmp_path: Path) -> None:
    """Once; what is private already is left as it is."""
    path = tmp_path / "tokens"
    path.touch()
    path.chmod(0o754)
    assert own_files.make_private(path)
    assert path.stat().st_mode & 0o777 == 0o700
    assert not own_files.make_private(path)


@pytest.mark.parametrize(
    ("mode", "open_to_others", "anybody"),
    [(0o600, False, False), (0o640, False, False), (0o644, True, False), (0o660, True, False), (0o602, True, True)],
)
def test_who_may_do_what(tmp_path: Path, mode: int, open_to_others: bool, anybody: bool) -> None:
    """Readers beyond the group, writers beyond the owner."""
    path = tmp_path / "x"
    path.touch()
    path.chmod(mode)
    facts = own_files.facts(path)
    assert (facts.open_to_others, facts.anybody_may_write) == (open_to_others, anybody)


def test_what_a_killed_writer_left_is_removed(tmp_path: Path) -> None:
    """The unfinished versions of that file, and no other file."""
    path = tmp_path / "metrics.prom"
    own_files.write_whole(path, b"x", 0o644)
    for name in (".metrics.prom-ab12_x9z", ".metrics.prom-backup", ".other.prom-ab12_x9z", "metrics.prom-ab12_x9z"):
        (tmp_path / name).write_bytes(b"")
    own_files.discard_unfinished(path)
    assert sorted(one.name for one in tmp_path.iterdir()) == [
        ".metrics.prom-backup", ".other.prom-ab12_x9z", "metrics.prom", "metrics.prom-ab12_x9z",
    ]  # fmt: skip
