"""What was delivered is read again: what is wrong is said, what is here travels again, and nothing there is overwritten."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from agent.ledger import Ledger

if TYPE_CHECKING:
    from tests.journey.conftest import Site

pytestmark = pytest.mark.skipif(sys.platform == "darwin", reason="leases as on Linux")
A, B = b"a" * 3000, b"bee"
AGAIN = "the local copy is kept and delivered again"
LEFT = "; what stands there is not touched: look at it, and move it away"
OTHER = "has other content than was delivered"


def flip(copy: Path) -> bytes:
    """One bit changes; size and mtime do not. Returns the content then."""
    status, content = copy.stat(), copy.read_bytes()
    flipped = bytes([content[0] ^ 1]) + content[1:]
    copy.write_bytes(flipped)
    os.utime(copy, ns=(status.st_atime_ns, status.st_mtime_ns))
    return flipped


def delivered(site: "Site", **policy: Any) -> None:
    """Two files are verified."""
    if policy:
        site.configure(site.rule(**policy))
    site.put("run/a.dat", A)
    site.put("run/b.dat", B)
    assert site.once() == 0


def verify(site: "Site", *words: str) -> tuple[int, dict[str, int], list[tuple[str, str, str]]]:
    """(exit code, outcome → copies, findings as (kind, copy, reason)) of `dropline verify share`."""
    done = site.dropline("verify", "share", "--format", "json", *words)
    found = done.json
    counts = {outcome: count for outcome, count in found["outcomes"].items() if count}
    return done.code, counts, [(one["kind"], one["copy"], one["reason"]) for one in found["findings"]]


def in_ledger(site: "Site", *statements: str) -> None:
    """Change the ledger as time would."""
    ledger = Ledger(str(site.state / "ledger.sqlite"))
    with ledger.transaction():
        for statement in statements:
            ledger.execute(statement)
    ledger.close()


# The agent


def test_a_flipped_bit_is_found_and_the_file_travels_again_under_its_own_name(site: "Site") -> None:
    """The agent reads by itself; what is at the share stays for a person, the local copy stays, all of it is said."""
    site.configure(
        agent={"listen": "127.0.0.1:0", "canary_every": "0s"},
        destinations={"share": {"path": "share", "scrub": {"per_day": "1TB", "every": "1s"}}},
    )
    delivered(site)
    flipped = flip(site.share / "run/a.dat")
    agent = site.start()
    wanted = {"run/a.dat": flipped, "run/a~1.dat": A, "run/b.dat": B}
    site.until(lambda: site.delivered == wanted, "the file under its own name")
    reason = f"at share, 'run/a.dat' {OTHER}; {AGAIN}{LEFT}"
    agent.logs(f"ERROR {site.inbox}/run/a.dat: {reason}")
    agent.logs(f'changed rule=r at=share file="{site.inbox}/run/a.dat" size=3000 reason="{reason}"')
    site.until(lambda: site.status()["files"] == {"verified": 2}, "the new proof")
    assert site.local == {"run/a.dat": A, "run/b.dat": B}
    status = site.status()
    (finding,) = status["findings"]
    assert (finding["kind"], finding["copy"], finding["path"], finding["reason"]) == (
        "changed", "run/a.dat", str(site.inbox / "run/a.dat"), reason,
    )  # fmt: skip
    (scrub,) = status["scrub"]
    assert (scrub["per_day"], scrub["every"], scrub["findings"]) == (10**12, 1.0, {"changed": 1})
    assert scrub["last_at"] >= finding["since"]
    metrics = agent.get("/metrics").body
    for line in (
        'dropline_scrubbed_bytes_total{destination="share",outcome="changed"} 3000.0',
        'dropline_scrub_findings{destination="share",kind="changed"} 1.0',
        'dropline_scrub_findings{destination="share",kind="missing"} 0.0',
    ):
        assert line in metrics
    assert "dropline_scrub_last_timestamp_seconds" in metrics
    assert agent.get("/healthz").body == "ok\n"
    assert agent.stop() == 0
    assert site.dropline("status").code == 1


# By hand


def missing(copy: Path) -> bytes | None:
    copy.unlink()
    return None


@pytest.mark.parametrize(
    ("spoil", "kind", "reason"),
    [
        (flip, "changed", f"at share, 'run/a.dat' {OTHER}; {AGAIN}{LEFT}"),
        (missing, "missing", f"at share, 'run/a.dat' is gone; {AGAIN}"),
    ],
)
def test_what_is_amiss_while_the_local_copy_is_here_travels_again(
    site: "Site", spoil: Callable[[Path], bytes | None], kind: str, reason: str
) -> None:
    """Exit code 1 and the reason; then the file is at the share once more, and what was there is as it was."""
    delivered(site)
    assert verify(site) == (0, {"good": 2}, [])
    left = spoil(site.share / "run/a.dat")
    assert verify(site) == (1, {kind: 1, "good": 1}, [(kind, "run/a.dat", reason)])
    assert site.states() == {"run/a.dat": ["batched"], "run/b.dat": ["verified"]}
    site.once()
    expected = {"run/b.dat": B} | ({"run/a.dat": A} if left is None else {"run/a.dat": left, "run/a~1.dat": A})
    assert (site.delivered, site.local) == (expected, {"run/a.dat": A, "run/b.dat": B})
    assert site.states() == {"run/a.dat": ["verified"], "run/b.dat": ["verified"]}
    if left is not None:
        assert verify(site)[0] == 1, "it stands there still"
        (site.share / "run/a.dat").unlink()
    assert verify(site)[0] == 0
    assert verify(site) == (0, {"good": 2}, [])
    assert (site.once(), site.dropline("status").code) == (0, 0)
    (line,) = site.explain("run/a.dat")[0]["findings"]
    assert (line["kind"], line["reason"], line["closed_at"] is not None) == (kind, reason, True)


def test_a_file_that_changes_later_replaces_its_new_copy_and_not_what_was_found(site: "Site") -> None:
    """What somebody put in the place of a copy is never overwritten, whatever comes after."""
    delivered(site)
    flipped = flip(site.share / "run/a.dat")
    verify(site)
    site.once()
    site.put("run/a.dat", A + b"newer")
    site.once()
    assert site.delivered == {"run/a.dat": flipped, "run/a~1.dat": A + b"newer", "run/b.dat": B}


def test_a_second_spoiled_copy_leaves_a_third_name(site: "Site") -> None:
    """Also what stands at the name of its own is only ever left as it is."""
    delivered(site)
    first = flip(site.share / "run/a.dat")
    verify(site)
    site.once()
    second = flip(site.share / "run/a~1.dat")
    verify(site)
    site.once()
    assert site.delivered == {"run/a.dat": first, "run/a~1.dat": second, "run/a~1~2.dat": A, "run/b.dat": B}


def test_what_was_sent_by_hand_travels_again_too(site: "Site") -> None:
    """The batch of a person is a batch once more."""
    (site.root / "job").mkdir()
    (site.root / "job/x.dat").write_bytes(b"x")
    assert site.dropline("send", "job", "--to", "share").code == 0
    flipped = flip(site.share / "job/x.dat")
    assert verify(site)[:2] == (1, {"changed": 1})
    site.once()
    assert site.delivered == {"job/x.dat": flipped, "job/x~1.dat": b"x"}


# Reclaim


def test_a_withdrawn_proof_keeps_the_local_copy(site: "Site") -> None:
    """Not even `verify = "size"`, to which the copy looks good, lets the file go; its new copy does."""
    sized = {"share": {"path": "share", "verify": "size"}}
    site.configure(destinations=sized)
    delivered(site)
    flipped = flip(site.share / "run/a.dat")
    assert verify(site)[0] == 1
    site.configure(site.rule(reclaim={"after": "0s"}), destinations=sized)
    assert site.dropline("reclaim").code == 0
    assert site.local == {"run/a.dat": A}
    site.once()
    assert (site.local, site.delivered) == ({}, {"run/a.dat": flipped, "run/a~1.dat": A, "run/b.dat": B})
    copies = [one["path"] for line in site.deletions() for one in line["copies"]]
    assert sorted(copies) == ["run/a~1.dat", "run/b.dat"]


def test_a_file_in_the_trash_comes_back_and_travels_again(site: "Site") -> None:
    """Its proof is withdrawn while it waits to be deleted: it is put back, whatever its size says, and delivered."""
    policy = {"reclaim": {"after": "0s", "trash": "7d"}}
    site.configure(site.rule(**policy), destinations={"share": {"path": "share", "verify": "size"}})
    site.put("run/a.dat", A)
    assert (site.once(), site.states()) == (0, {"run/a.dat": ["reclaiming"]})
    flipped = flip(site.share / "run/a.dat")
    assert verify(site)[:2] == (1, {"changed": 1})
    in_ledger(site, "UPDATE reclaims SET purge_at = 0")
    site.once()
    assert site.local == {"run/a.dat": A}
    assert verify(site)[0] == 1
    site.once()
    assert site.delivered == {"run/a.dat": flipped, "run/a~1.dat": A}


def test_where_the_local_copy_is_gone_other_copies_are_named(site: "Site") -> None:
    """Refused loudly, until it is restored, or accepted by a person; accepted, it is not read any more."""
    (site.root / "mirror").mkdir()
    two = {"share": {"path": "share"}, "mirror": {"path": "mirror"}}
    site.configure(
        site.rule(deliver=[{"to": "share"}, {"to": "mirror", "path": "m/{relpath}"}], reclaim={"after": "0s"}),
        destinations=two,
    )
    site.put("run/a.dat", A)
    site.put("run/b.dat", B)
    assert (site.once(), site.local) == (0, {})
    flipped = flip(site.share / "run/a.dat")
    (site.share / "run/b.dat").unlink()
    gone = "the local copy is gone, but mirror has it as 'm/run/{0}.dat': copy it from there, or"
    findings = [
        (
            "changed",
            "run/a.dat",
            f"at share, 'run/a.dat' {OTHER}; {gone.format('a')} `dropline verify share --accept changed`",
        ),
        (
            "missing",
            "run/b.dat",
            f"at share, 'run/b.dat' is gone; {gone.format('b')} `dropline verify share --accept missing`",
        ),
    ]
    code, counts, found = verify(site)
    assert (code, counts, sorted(found)) == (1, {"changed": 1, "missing": 1}, findings)
    assert (site.once(), site.delivered) == (1, {"run/a.dat": flipped}), "nothing is written"
    assert site.states() == {"run/a.dat": ["reclaimed"], "run/b.dat": ["reclaimed"]}
    done = site.dropline("verify", "share", "--accept", "missing")
    assert (done.code, done.out.splitlines()) == (
        0,
        [
            f"accepted: missing: run/b.dat (of {site.inbox}/run/b.dat)",
            "1 findings are settled; these copies are not read again",
        ],
    )
    assert verify(site) == (1, {"changed": 1}, [findings[0]])
    (site.share / "run/a.dat").write_bytes((site.root / "mirror/m/run/a.dat").read_bytes())
    assert verify(site) == (0, {"good": 1}, [])
    assert (site.once(), site.dropline("status").code) == (0, 0)


# What is no finding


def test_a_destination_that_is_away_is_judged_by_nobody(site: "Site") -> None:
    """Without its identity file, or altogether: exit code 1, the reason, and no copy is missing."""
    delivered(site)
    (site.share / "run/a.dat").unlink()
    (site.share / ".dropline-destination").rename(site.root / "kept")
    done = site.dropline("verify", "share")
    assert (done.code, done.out) == (1, "share: 0 copies (0 B) were read again\n2 copies were not read; `dropline verify"
        " share --all` reads all, and the next call the next ones\n")  # fmt: skip
    assert done.err.startswith(f"stopped: {site.share} has no .dropline-destination: the share is not mounted")
    assert site.states() == {"run/a.dat": ["verified"], "run/b.dat": ["verified"]}
    (site.root / "kept").rename(site.share / ".dropline-destination")
    assert verify(site)[:2] == (1, {"missing": 1, "good": 1})


def test_a_copy_that_may_not_be_read_is_not_disproved(site: "Site") -> None:
    """It is said, the evidence stays, nothing travels; readable again, nothing is left of it."""
    delivered(site)
    (site.share / "run/a.dat").chmod(0)
    done = site.dropline("verify", "share", unprivileged=True)
    reason = "at share, 'run/a.dat' cannot be read: Permission denied; mend that there; it is read again within a day"
    assert (done.code, done.out.splitlines()) == (
        1,
        [
            "share: 2 copies (3 kB) were read again: 1 good, 1 unreadable",
            f"unreadable: {site.inbox}/run/a.dat: {reason}",
        ],
    )
    assert site.states() == {"run/a.dat": ["verified"], "run/b.dat": ["verified"]}
    (site.share / "run/a.dat").chmod(0o644)
    assert verify(site)[0] == 0
    assert verify(site) == (0, {"good": 2}, [])


def test_a_copy_that_a_newer_version_replaced_is_not_looked_for(site: "Site") -> None:
    """A file that changed in place: only its last version is at the share, and only that is read."""
    delivered(site)
    site.put("run/a.dat", b"newer")
    assert site.once() == 0
    assert verify(site, "--all") == (0, {"good": 2}, [])


def test_a_sample_goes_on_where_the_last_one_ended(site: "Site") -> None:
    """A hundred copies, those that were read longest ago: called again and again, every copy is read. --all: all at once."""
    for number in range(130):
        site.put(f"{number:03}.dat", b"%d" % number)
    assert site.once() == 0
    left = "copies were not read; `dropline verify share --all` reads all, and the next call the next ones"
    first = site.dropline("verify", "share").out.splitlines()
    assert first[0].endswith("were read again: 100 good")
    assert first[1:] == [f"30 {left}"]
    opened = Ledger(str(site.state / "ledger.sqlite"))
    sql = "SELECT f.name FROM copies c JOIN files f ON f.id = c.file WHERE c.reread_at IS NULL"
    unreadable = [name.decode() for (name,) in opened.execute(sql)]
    opened.close()
    assert len(unreadable) == 30
    flip(site.share / unreadable[0])
    assert verify(site)[:2] == (1, {"good": 99, "changed": 1})
    assert verify(site, "--all")[:2] == (1, {"good": 129, "changed": 1})


def test_without_a_configuration_file_the_ledger_knows_the_destinations(site: "Site") -> None:
    """What `run --watch DIR --to DIR` delivered is read again in the same folder."""
    site.config.unlink()
    site.put("a.dat", A)
    assert site.dropline("run", "--once", "--watch", "inbox", "--to", "share").code == 0
    (site.share / "a.dat").write_bytes(b"other")
    done = site.dropline("verify", "share")
    assert (done.code, done.out.splitlines()[0]) == (1, "share: 1 copies (3 kB) were read again: 1 changed")


def test_verify_needs_a_destination_that_is_known(site: "Site") -> None:
    """Exit code 2, and the names of those that there are."""
    delivered(site)
    done = site.dropline("verify", "shore")
    assert (done.code, done.err) == (
        2, f"dropline: there is no destination 'shore' in {site.config}; known are share\n",
    )  # fmt: skip
