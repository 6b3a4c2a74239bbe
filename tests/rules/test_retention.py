"""May the local copy go?"""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules.model import Evidence, Reclaim, Verdict
from rules.retention import mount_doubt, retention

PROVED = 1_000_000.0
laws = settings(max_examples=100, deadline=None)


def proof(destination: str, at: float = PROVED) -> Evidence:
    """Evidence of that time."""
    return Evidence(destination, b"\1" * 32, "sha256", at)


WEEK = Reclaim(after=604800.0)
SPACE = Reclaim(when_free_below=0.15)
BOTH = Reclaim(after=604800.0, when_free_below=0.15)


def weak(destination: str) -> Evidence:
    """Only size and mtime were compared there."""
    return Evidence(destination, b"stat:1:2", "stat", PROVED)


@pytest.mark.parametrize(
    ("reclaim", "required", "evidence", "free", "after", "verdict"),
    [
        (None, ["a"], [proof("a")], 0.0, 1e9, Verdict(False, "the rule keeps files for ever")),
        (WEEK, [], [proof("a")], 0.0, 1e9, Verdict(False, "the rule delivers to no destination")),
        (WEEK, ["a"], [], 0.0, 1e9, Verdict(False, "not proved at a")),
        (WEEK, ["a", "c", "b"], [proof("a"), proof("d")], 0.0, 1e9, Verdict(False, "not proved at b, c")),
        (SPACE, ["a", "b"], [proof("a")], 0.0, 1e9, Verdict(False, "not proved at b")),
        (WEEK, ["a"], [proof("a")], None, 604799.0, Verdict(False, "kept until 7 d after its proof", PROVED + 604800)),
        (WEEK, ["a"], [proof("a")], None, 604800.0, Verdict(True, "proved at a 7 d ago")),
        (
            WEEK, ["b", "a"], [proof("a"), proof("b", PROVED + 100)], None, 604800.0,
            Verdict(False, "kept until 7 d after its proof", PROVED + 604900),
        ),
        (
            WEEK, ["b", "a"], [proof("a"), proof("b", PROVED + 100)], None, 604900.0,
            Verdict(True, "proved at a, b 7 d ago"),
        ),
        (WEEK, ["a"], [proof("a"), proof("z", PROVED + 1e9)], None, 604800.0, Verdict(True, "proved at a 7 d ago")),
        (SPACE, ["a"], [proof("a")], 0.15, 1e9, Verdict(False, "there is enough free space")),
        (SPACE, ["a"], [proof("a")], None, 1e9, Verdict(False, "its free space is unknown")),
        (SPACE, ["a"], [proof("a")], 0.149, 0.0, Verdict(True, "proved at a; 14.9% free")),
        (BOTH, ["a"], [proof("a")], 0.1, 0.0, Verdict(True, "proved at a; 10.0% free")),
        (BOTH, ["a"], [proof("a")], 0.2, 0.0, Verdict(False, "kept until 7 d after its proof", PROVED + 604800)),
        (BOTH, ["a"], [proof("a")], 0.2, 604800.0, Verdict(True, "proved at a 7 d ago")),
        (Reclaim(after=0.0), ["a"], [proof("a")], None, 0.0, Verdict(True, "proved at a 0 ms ago")),
        (
            Reclaim(after=0.0), ["a", "b"], [proof("a"), weak("b")], None, 0.0,
            Verdict(False, "at b, only size and mtime were compared, and the rule demands a checksum"),
        ),
        (Reclaim(after=0.0), ["a"], [proof("a"), weak("z")], None, 0.0, Verdict(True, "proved at a 0 ms ago")),
        (Reclaim(after=0.0, evidence="stat"), ["a"], [weak("a")], None, 0.0, Verdict(True, "proved at a 0 ms ago")),
    ],
)  # fmt: skip
def test_the_policy(
    reclaim: Reclaim | None,
    required: list[str],
    evidence: list[Evidence],
    free: float | None,
    after: float,
    verdict: Verdict,
) -> None:
    """A file goes when it is proved everywhere it must be, and its time has come or space is short."""
    assert retention(reclaim, required, evidence, free, PROVED + after) == verdict


names = st.sampled_from("abcd")
policies = st.none() | st.builds(
    Reclaim, after=st.none() | st.floats(0, 1e7), when_free_below=st.none() | st.floats(0, 1)
)
evidence_st = st.lists(st.builds(proof, names, st.floats(0, 2e9)), max_size=6)
free_st = st.none() | st.floats(0, 1)


@laws
@given(policies, st.sets(names), evidence_st, free_st, st.floats(0, 4e9))
def test_nothing_goes_without_proof(
    reclaim: Reclaim | None, required: set[str], evidence: list[Evidence], free: float | None, now: float
) -> None:
    """Only with a policy, and evidence of every required destination, of which there is one at least, may a file go."""
    if retention(reclaim, required, evidence, free, now).ok:
        assert reclaim is not None
        assert required
        assert required <= {item.destination for item in evidence}


@laws
@given(policies, st.sets(names), evidence_st, free_st, st.floats(0, 4e9))
def test_the_next_look_is_worth_it(
    reclaim: Reclaim | None, required: set[str], evidence: list[Evidence], free: float | None, now: float
) -> None:
    """A file that only has to wait may go at `again_at`, and not before."""
    verdict = retention(reclaim, required, evidence, free, now)
    if verdict.again_at is not None:
        assert not verdict.ok
        assert retention(reclaim, required, evidence, free, verdict.again_at).ok
        assert retention(reclaim, required, evidence, free, math.nextafter(verdict.again_at, -math.inf)) == verdict


def test_a_doubtful_proof_does_not_count() -> None:
    """Of a destination that the rule needs; what the rule does not need does not matter."""
    both, now = [proof("a"), proof("b")], PROVED + 604800
    assert retention(WEEK, ["a", "b"], both, None, now, {"b": "why"}) == Verdict(
        False, "the proof at b does not count: why"
    )
    assert retention(SPACE, ["a", "b"], both, 0.0, now, {"b": "why"}).ok is False
    assert retention(WEEK, ["a"], both, None, now, {"b": "why"}).ok


@pytest.mark.parametrize("network", [False, True])
@pytest.mark.parametrize("mounted", [None, False, True])
def test_only_an_unnamed_local_directory_is_in_doubt(mounted: bool | None, network: bool) -> None:
    """It may be the bare mount point of a share; the reason has the line to add."""
    found = mount_doubt("share", "/mnt/share", mounted, network)
    assert (found is not None) == (mounted is None and not network)
    assert found is None or ("`mounted = false`" in found and "[destinations.share]" in found)
