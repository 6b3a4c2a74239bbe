"""Local copies go only when every proof holds, and every other file stays."""

import hashlib
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from agent.app.configuration import read
from agent.destinations.directory.transport import DirectoryTransport
from agent.files import LOCAL
from agent.ledger import Ledger
from agent.reclaim import Reclaimer, Record, Required
from tests.systems import WINDOWS

if TYPE_CHECKING:
    from tests.journey.conftest import Site

pytestmark = pytest.mark.skipif(sys.platform == "darwin", reason="leases as on Linux")
CONTENT = {"run1/a.dat": b"a" * 3000, "run1/sub/b.dat": b"bee", "run2/c.dat": b"", "top.dat": b"top"}


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def delivered(site: "Site", content: dict[str, bytes] | None = None) -> None:
    """Everything is verified, nothing is reclaimed yet."""
    for name, data in (CONTENT if content is None else content).items():
        site.put(name, data)
    assert site.once() == 0


def policy(site: "Site", **keys: Any) -> None:
    """From now on the rule reclaims so."""
    site.configure(site.rule(reclaim={"after": "0s"} | keys))


def refused(site: "Site") -> dict[str, str]:
    """Path relative to the inbox → reason."""
    lines = site.dropline("files", "--state", "refused", "--format", "json").json
    return {site.relative(line["path"], site.inbox): line["reason"] for line in lines}


# What goes


def test_what_is_proved_goes_and_the_record_says_so(site: "Site") -> None:
    """after = "0s" removes every proved file, and the record names file, checksum, copies, when and by which rule."""
    policy(site)
    delivered(site)
    assert (site.local, site.delivered) == ({}, CONTENT)
    assert site.status()["files"] == {"reclaimed": 4}
    record = site.deletions()
    proofs = {one["path"]: one for line in record for one in line["copies"]}
    for line in record:
        (copy,) = line["copies"]
        assert copy["proved_at"] <= line.pop("at")
        assert line.pop("reason").startswith("proved at share ")
    assert sorted(record, key=lambda line: line["file"]) == [
        {"rule": "r", "file": str(site.inbox / name), "size": len(data), "copies": [proofs[name]]}
        for name, data in sorted(CONTENT.items())
    ]
    assert {name: (one["destination"], one["checksum"]) for name, one in proofs.items()} == {
        name: ("share", sha256(data)) for name, data in CONTENT.items()
    }
    assert WINDOWS or (site.state / "deletions.jsonl").stat().st_mode & 0o077 == 0


def test_without_a_policy_files_stay_for_ever(site: "Site") -> None:
    """Of two rules only the one that says `reclaim` loses its local files, and `after` is waited for."""
    (site.root / "kept").mkdir()
    (site.root / "later").mkdir()
    site.configure(
        site.rule(reclaim={"after": "0s"}),
        site.rule(name="keeps", watch="kept", deliver=[{"to": "share", "path": "kept/{relpath}"}]),
        site.rule(
            name="week", watch="later", deliver=[{"to": "share", "path": "later/{relpath}"}], reclaim={"after": "7d"}
        ),
    )
    for directory in ("inbox", "kept", "later"):
        (site.root / directory / "x.dat").write_bytes(b"x")
    assert (site.once(), site.once()) == (0, 0)
    assert site.delivered == {"x.dat": b"x", "kept/x.dat": b"x", "later/x.dat": b"x"}
    assert [(site.root / directory / "x.dat").exists() for directory in ("inbox", "kept", "later")] == [
        False, True, True,
    ]  # fmt: skip
    verdicts = {line["rule"]: line["reason"] for line in site.dropline("reclaim", "--dry-run", "--format", "json").json}
    assert verdicts == {"keeps": "the rule keeps files for ever", "week": "kept until 7 d after its proof"}


def test_only_directories_that_reclaiming_emptied_are_removed(site: "Site") -> None:
    """empty_dirs: at once those of a dataset that ended; never the watched directory or one that still holds something."""
    for name, data in CONTENT.items():
        site.put(name, data)
    site.put("run2/keep.tmp", b"not claimed")
    (site.inbox / "empty").mkdir()
    (site.inbox / "run1" / "empty").mkdir()
    site.configure(site.rule(exclude=["*.tmp"], reclaim={"after": "0s", "empty_dirs": True}))
    assert (site.once(), site.delivered) == (0, CONTENT)
    left = sorted(str(path.relative_to(site.inbox)) for path in site.inbox.rglob("*") if ".dropline" not in path.name)
    assert left == ["empty", "run1", "run1/empty", "run1/sub", "run2", "run2/keep.tmp"]
    site.configure(
        site.rule(exclude=["*.tmp"], dataset={"dir": "run[0-9]"}, reclaim={"after": "0s", "empty_dirs": True})
    )
    site.put("run3/a/b/x.dat", b"x")
    assert (site.once(), (site.inbox / "run3").exists()) == (0, False)


def test_directories_stay_unless_the_rule_says_otherwise(site: "Site") -> None:
    """Without empty_dirs only files go, and nothing of ours is left behind."""
    policy(site)
    delivered(site)
    left = sorted(
        str(path.relative_to(site.inbox)) for path in site.inbox.rglob("*") if path.name != ".dropline-canary"
    )
    assert left == ["run1", "run1/sub", "run2"]


def test_a_file_lies_unmoved_before_it_goes(site: "Site") -> None:
    """`run --once` and `reclaim` wait for `min_age`, and no longer; `--dry-run` does not wait."""
    policy(site, min_age="200ms")
    delivered(site)
    assert (site.local, site.delivered) == ({}, CONTENT)
    site.put("late.dat", b"late")
    site.configure()
    assert site.once() == 0
    policy(site, min_age="200ms")
    assert site.dropline("reclaim").out == "1 local files were removed\n"
    site.put("never.dat", b"never")
    policy(site, min_age="1h", after="7d")
    assert (site.once(), site.local) == (0, {"never.dat": b"never"})


# What stays


def flipped(copy: Path) -> None:
    """One bit changes; size and mtime do not."""
    status, content = copy.stat(), copy.read_bytes()
    copy.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    os.utime(copy, ns=(status.st_atime_ns, status.st_mtime_ns))


def shortened(copy: Path) -> None:
    os.truncate(copy, 2999)


def linked(copy: Path) -> None:
    """A link to the same content is not the copy that was proved."""
    copy.rename(copy.with_name("elsewhere"))
    copy.symlink_to("elsewhere")


DAMAGED: dict[str, tuple[Callable[[Path], None], str]] = {
    "flipped": (flipped, "at share, 'run1/a.dat' has other content than was delivered"),
    "shortened": (shortened, "at share, 'run1/a.dat' has 2999 bytes instead of 3000"),
    "missing": (Path.unlink, "at share, 'run1/a.dat' is gone"),
}
KEPT = "; the local file is kept; look at the destination, then `dropline retry` delivers it again"


@pytest.mark.parametrize("how", DAMAGED)
def test_a_copy_that_is_not_what_was_proved_keeps_the_local_file(site: "Site", how: str) -> None:
    """A flipped bit (size and mtime as before), a short or a missing copy: the file stays, refused with the reason."""
    spoil, reason = DAMAGED[how]
    delivered(site)
    spoil(site.share / "run1/a.dat")
    policy(site)
    assert site.once() == 1
    assert site.local == {"run1/a.dat": CONTENT["run1/a.dat"]}
    assert refused(site) == {"run1/a.dat": reason + KEPT}
    assert (site.once(), site.local) == (1, {"run1/a.dat": CONTENT["run1/a.dat"]})
    (site.share / "run1/a.dat").unlink(missing_ok=True)
    assert site.dropline("retry").code == 0
    assert (site.once(), site.local, site.delivered) == (0, {}, CONTENT)


def test_a_link_in_place_of_a_copy_is_no_copy(site: "Site") -> None:
    """The local file stays where the name at the share became a link, even to the same content."""
    delivered(site)
    linked(site.share / "run1/a.dat")
    policy(site)
    assert site.once() in (0, 1)
    assert site.local == {"run1/a.dat": CONTENT["run1/a.dat"]}


def test_a_local_file_that_changed_is_delivered_before_it_goes(site: "Site") -> None:
    """Evidence for one version never permits to delete another."""
    delivered(site)
    policy(site)
    with (site.inbox / "top.dat").open("ab") as file:
        file.write(b" and more")
    assert (site.once(), site.local) == (0, {})
    assert site.delivered == CONTENT | {"top.dat": b"top and more"}


@pytest.mark.usefixtures("leases")
def test_a_file_that_somebody_opened_for_writing_stays(site: "Site") -> None:
    """An open writer keeps its file here, with that reason, though nothing was written yet."""
    delivered(site)
    policy(site)
    with (site.inbox / "top.dat").open("ab"):
        assert (site.once(), site.local) == (0, {"top.dat": b"top"})
        (line,) = site.dropline("reclaim", "--dry-run", "--format", "json").json
        assert line == {
            "path": str(site.inbox / "top.dat"),
            "rule": "r",
            "reclaim": False,
            "reason": "a process has it open for writing",
        }
    assert (site.once(), site.local, site.delivered) == (0, {}, CONTENT)


def test_an_unreachable_destination_keeps_everything(site: "Site") -> None:
    """A share that is away cannot be asked again, so nothing goes and nothing is refused, and the exit code tells."""
    delivered(site)
    policy(site)
    site.share.rename(site.root / "away")
    assert (site.once(), site.local) == (1, CONTENT)
    plan = site.dropline("reclaim", "--dry-run", "--format", "json").json
    assert {line["reason"] for line in plan} == {f"cannot be asked: {site.share}: No such file or directory"}
    (site.root / "away").rename(site.share)
    assert (site.once(), site.local, site.delivered) == (0, {}, CONTENT)


def test_a_destination_that_was_added_later_is_required(site: "Site") -> None:
    """Evidence from each destination that the rule names now is asked for, not only from those that it named then."""
    delivered(site)
    (site.root / "second").mkdir()
    site.configure(
        site.rule(deliver=[{"to": "share"}, {"to": "second"}], reclaim={"after": "0s"}),
        destinations={"share": {"path": "share"}, "second": {"path": "second"}},
    )
    assert (site.once(), site.local) == (1, CONTENT)
    plan = site.dropline("reclaim", "--dry-run", "--format", "json").json
    assert {line["reason"] for line in plan} == {"not proved at second"}


# What a person can do


def test_a_dry_run_tells_the_verdict_on_each_file_and_removes_nothing(site: "Site") -> None:
    """One line a file with what would happen and why; the same as JSON."""
    delivered(site)
    policy(site)
    done = site.dropline("reclaim", "--dry-run")
    lines = done.out.splitlines()
    assert (done.code, lines.pop()) == (0, "4 of 4 files would be removed; nothing was")
    heads = sorted(line.split(": proved at share ")[0] for line in lines)
    assert heads == sorted(f"reclaim {site.inbox / name}" for name in CONTENT)
    plan = site.dropline("reclaim", "--dry-run", "--format", "json").json
    assert {(line["path"], line["rule"], line["reclaim"]) for line in plan} == {
        (str(site.inbox / name), "r", True) for name in CONTENT
    }
    assert (site.local, site.deletions()) == (CONTENT, [])
    assert site.status()["files"] == {"verified": 4}


def test_a_dry_run_writes_nothing(site: "Site") -> None:
    """Neither into the ledger, whatever the configuration says by now, nor beside it: an agent may be running."""

    def contents() -> tuple[list[str], set[str]]:
        with closing(sqlite3.connect(site.state / "ledger.sqlite")) as known:
            return list(known.iterdump()), set(os.listdir(site.state))

    delivered(site)
    before = contents()
    places = {"moved": {"path": str(site.root / "share"), "mounted": False}, "new": {"path": str(site.root / "new")}}
    (site.root / "new").mkdir()
    targets = [{"to": "moved"}, {"to": "new"}]
    site.configure(site.rule(reclaim={"after": "0s"}, deliver=targets), destinations=places)
    plan = site.dropline("reclaim", "--dry-run", "--format", "json").json
    assert len(plan) == 4
    assert contents() == before


def test_reclaim_as_a_command_removes_what_may_go(site: "Site") -> None:
    """`dropline reclaim` does at once what the agent would do."""
    delivered(site)
    policy(site)
    assert site.dropline("reclaim").code == 0
    assert (site.local, len(site.deletions())) == ({}, 4)


def test_a_pause_stops_every_deletion(site: "Site") -> None:
    """Paused: deliveries go on, nothing is deleted, status says so; `resume` lets it go on."""
    delivered(site, {"x.dat": b"x"})
    policy(site)
    assert site.dropline("pause", "reclaim").code == 0
    site.put("y.dat", b"y")
    assert (site.once(), site.local, site.delivered) == (
        0,
        {"x.dat": b"x", "y.dat": b"y"},
        {"x.dat": b"x", "y.dat": b"y"},
    )
    assert site.dropline("reclaim").out == "paused: `dropline resume reclaim` lets it go on\n"
    assert site.status()["paused"] == ["reclaim"]
    assert site.local == {"x.dat": b"x", "y.dat": b"y"}
    assert site.dropline("resume", "reclaim").code == 0
    assert (site.once(), site.local, site.status()["paused"]) == (0, {}, [])


# Trash


def test_the_trash_holds_files_for_its_window(site: "Site") -> None:
    """trash = "7d": moved, not deleted, and no later run purges early."""
    policy(site, trash="7d")
    delivered(site)
    moved = site.local
    assert {name.split("/", 2)[2]: data for name, data in moved.items()} == CONTENT
    assert {name.split("/")[0] for name in moved} == {".dropline-trash"}
    assert (site.once(), site.local, site.deletions()) == (0, moved, [])
    assert site.status()["files"] == {"reclaiming": 4}


def test_the_trash_is_purged_after_its_window(site: "Site") -> None:
    """trash = "1ms": gone with the next runs, recorded, and the directories of the trash with them."""
    policy(site, trash="1ms", empty_dirs=True)
    delivered(site)
    assert (site.once(), site.local, len(site.deletions())) == (0, {}, 4)
    assert sorted(path.name for path in site.inbox.iterdir() if path.name != ".dropline-canary") == ["run1", "run2"]


def test_the_proof_is_asked_again_before_the_purge(site: "Site") -> None:
    """A copy that was lost while the file lay in the trash: the file comes back from there."""
    policy(site, trash="7d")
    delivered(site, {"run/x.dat": b"x"})
    (site.share / "run/x.dat").unlink()
    overdue(site)
    site.once()
    assert site.local == {"run/x.dat": b"x"}


def overdue(site: "Site") -> None:
    """As if the trash's window had passed."""
    in_ledger(site, "UPDATE reclaims SET purge_at = 0")


def in_ledger(site: "Site", *statements: str) -> None:
    """Change the ledger as time would."""
    ledger = Ledger(str(site.state / "ledger.sqlite"))
    with ledger.transaction():
        for statement in statements:
            ledger.execute(statement)
    ledger.close()


def test_a_file_taken_out_of_the_trash_stays_for_another_period(site: "Site") -> None:
    """Restored by hand it is an ordinary verified file again; its copy is not written again."""
    policy(site, after="7d", trash="7d")
    delivered(site, {"run/x.dat": b"x"})
    before = (site.share / "run/x.dat").stat()
    in_ledger(site, "UPDATE copies SET proved_at = proved_at - 8 * 86400", "UPDATE batches SET reclaim_at = 0")
    assert (site.once(), site.local) == (0, {".dropline-trash/1/run/x.dat": b"x"})
    (site.inbox / ".dropline-trash/1/run/x.dat").rename(site.inbox / "run/x.dat")
    assert (site.once(), site.once(), site.local) == (0, 0, {"run/x.dat": b"x"})
    assert site.states() == {"run/x.dat": ["verified", "superseded"]}
    after = (site.share / "run/x.dat").stat()
    assert (after.st_ino, after.st_ctime_ns) == (before.st_ino, before.st_ctime_ns)
    assert (site.delivered, site.deletions()) == ({"run/x.dat": b"x"}, [])


def test_a_newer_file_at_the_place_of_a_trashed_one_is_not_touched(site: "Site") -> None:
    """The purge removes what lies in the trash, and the new file goes its own way."""
    policy(site, trash="7d")
    delivered(site, {"run/x.dat": b"x"})
    site.configure()
    site.put("run/x.dat", b"newer")
    assert site.once() == 0
    assert site.local == {"run/x.dat": b"newer", ".dropline-trash/1/run/x.dat": b"x"}
    policy(site, after="7d", trash="7d")
    overdue(site)
    assert (site.once(), site.local) == (0, {"run/x.dat": b"newer"})
    assert site.delivered == {"run/x.dat": b"x", "run/x~2.dat": b"newer"}


# When space is short


def test_when_space_is_short_the_oldest_proved_batches_go_first(site: "Site") -> None:
    """when_free_below: as many batches as are needed, the oldest first, and never a file without its proof."""
    runs = [f"run{number}/{name}.dat" for number in (3, 1, 4, 2) for name in "ab"]
    for name in runs:
        site.put(name, name.encode())
        if name.endswith("b.dat"):
            assert site.once() in (0, 1)
    site.share.rename(site.root / "away")
    site.put("run0/unproved.dat", b"nowhere else")
    assert site.once() == 1
    (site.root / "away").rename(site.share)
    site.configure(site.rule(reclaim={"when_free_below": "15%"}))  # now: the disk that this runs on may be short itself

    def free(path: str) -> float:
        assert path == str(site.inbox)
        return 0.10 + 0.02 * (len(runs) + 1 - len(site.local)) / 2

    config = read(site.config)
    ledger = Ledger(str(config.ledger))
    transport = DirectoryTransport("share", str(site.share), "checksum", "sha256", "agent", lambda: None)
    required = {"share": Required(transport.address, transport.confirm)}
    reclaimer = Reclaimer(ledger, LOCAL, config.rules, required, Record(site.state / "deletions.jsonl"), free)
    try:
        reclaimer.start(2e9)
        reclaimer.step(2e9)
    finally:
        transport.close()
        ledger.close()
    assert sorted(site.local) == ["run0/unproved.dat", "run2/a.dat", "run2/b.dat"]
    gone = [line["file"].removeprefix(f"{site.inbox}/") for line in site.deletions()]
    assert [name.partition("/")[0] for name in gone] == ["run3", "run3", "run1", "run1", "run4", "run4"]
    assert site.delivered == {name: name.encode() for name in runs}


def test_a_landing_zone_takes_files_and_the_local_copies_go(site: "Site") -> None:
    """What was proved to arrive at a destination with `consumed` is deleted, whether it is still there or was taken."""
    share = {"share": {"path": "share", "consumed": True, "scrub": "1GB"}}
    site.configure(site.rule(reclaim={"after": "7d"}), destinations=share)
    delivered(site)
    (site.share / "top.dat").rename(site.root / "taken")
    for one in ("run1/a.dat", "run1/sub/b.dat"):
        (site.share / one).unlink()
    said = site.dropline("check").out
    assert "files may be taken away there: their arrival, proved once, is the proof" in said
    assert "note: it is the only destination of r: no copy is known once a local file is deleted" in said
    assert site.dropline("verify", "share", "--all").code == 0
    assert site.status()["findings"] == []
    site.configure(site.rule(reclaim={"after": "0s"}), destinations=share)
    assert [one["reclaim"] for one in site.dropline("reclaim", "--dry-run", "--format", "json").json] == [True] * 4
    assert site.once() == 0
    assert (site.local, site.delivered) == ({}, {"run2/c.dat": b""})


def test_what_was_taken_away_is_not_sent_again_after_a_lost_ledger(site: "Site") -> None:
    """The record of arrivals outlives it: what is here as it arrived is verified, and goes; what is new travels."""
    share = {"share": {"path": "share", "consumed": True}}
    site.configure(site.rule(), destinations=share)
    delivered(site)
    for one in CONTENT:
        (site.share / one).unlink()
    for end in ("", "-wal", "-shm"):
        (site.state / f"ledger.sqlite{end}").unlink(missing_ok=True)
    site.put("new.dat", b"new")
    assert site.once() == 0
    assert site.delivered == {"new.dat": b"new"}
    assert site.status()["files"] == {"verified": 5}
    (there,) = site.status()["destinations"]
    assert there["consumed"] is True
    site.configure(site.rule(reclaim={"after": "0s"}), destinations=share)
    assert (site.once(), site.local) == (0, {})


def test_a_landing_zone_without_its_identity_is_no_proof(site: "Site") -> None:
    """Nothing is there at all: the share may not be mounted, and nobody took anything."""
    share = {"share": {"path": "share", "consumed": True}}
    site.configure(site.rule(), destinations=share)
    delivered(site)
    site.share.rename(site.root / "away")
    site.share.mkdir()
    site.configure(site.rule(reclaim={"after": "0s"}), destinations=share)
    assert site.once() == 1
    assert site.local == CONTENT


def test_a_file_on_another_disk_goes_to_the_trash_of_that_disk(site: "Site") -> None:
    """A rename crosses no file system: each below the watched directory has a trash, which goes when it is empty."""
    disk = site.inbox / "runs/disk"
    disk.mkdir(parents=True)
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "none", disk], check=False).returncode:
        pytest.skip("may not mount")
    try:
        site.configure(site.rule(reclaim={"after": "0s", "trash": "7d"}))
        site.put("runs/disk/run1/a.dat", b"there")
        site.put("runs/b.dat", b"here")
        assert site.once() == 0
        found = {re.sub(r"/\d+/", "/N/", path): content for path, content in site.local.items()}
        assert found == {
            ".dropline-trash/N/runs/b.dat": b"here",
            "runs/disk/.dropline-trash/N/runs/disk/run1/a.dat": b"there",
        }
        site.configure(site.rule(reclaim={"after": "0s", "trash": "1s"}))
        Ledger(str(site.state / "ledger.sqlite")).execute("UPDATE reclaims SET purge_at = 0")
        assert site.once() == 0
        assert (site.local, site.status()["files"]) == ({}, {"reclaimed": 2})
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


def test_a_folder_in_which_the_agent_may_not_delete_keeps_its_files(site: "Site") -> None:
    """No destination is asked for that, and `reclaim --dry-run` says whose right is missing."""
    policy(site)
    site.put("run1/a.dat", b"x").parent.chmod(0o555)
    site.put("run2/b.dat", b"y")
    site.once(unprivileged=True)
    assert site.local == {"run1/a.dat": b"x"}
    done = site.dropline("reclaim", "--dry-run", "--format", "json", unprivileged=True).json
    reasons = {site.relative(one["path"], site.inbox): one["reason"] for one in done}
    directory = site.inbox / "run1"
    reason = f"the agent's user may not remove files from {directory}; let it write there"
    assert reasons == {"run1/a.dat": reason}
    kept = {"rule": "r", "files": 1, "example": str(directory / "a.dat"), "reason": reason}
    assert site.status()["kept"] == [kept]
    said = site.dropline("status")
    assert f"1 local files of rule r are kept, such as {kept['example']}: {reason}" in said.out
    assert said.code == 1
    directory.chmod(0o755)
    assert site.once(unprivileged=True) == 0
    assert (site.local, site.status()["kept"]) == ({}, [])


def test_a_dry_run_does_not_promise_what_cannot_be_done(site: "Site") -> None:
    """Where the trash cannot be made, the file stays, and the dry run says so; status has the same reason."""
    site.configure(site.rule(reclaim={"after": "0s", "trash": "1d"}))
    site.put("run1/a.dat", b"x")
    site.inbox.chmod(0o555)
    site.once(unprivileged=True)
    (plan,) = site.dropline("reclaim", "--dry-run", "--format", "json", unprivileged=True).json
    reason = f"the agent's user may not make .dropline-trash in {site.inbox}; let it write there"
    assert (plan["reclaim"], plan["reason"]) == (False, reason)
    assert [one["reason"] for one in site.status()["kept"]] == [reason]
    assert site.local == {"run1/a.dat": b"x"}
