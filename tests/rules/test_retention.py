"""May the local copy go?"""

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules.links import leads_out_in_words
from rules.model import Evidence, Verdict
from rules.retention import mount_doubt, retention, taken_at_once, unmoved, unused
from rules.rule import Reclaim

PROVED = 1_000_000.0
SIZE = 1
laws = settings(max_examples=100, deadline=None)


def proof(destination: str, at: float = PROVED) -> Evidence:
    """Evidence of that time."""
    return Evidence(destination, b"\1" * 32, "sha256", at, SIZE)


WEEK = Reclaim(after=604800.0)
SPACE = Reclaim(when_free_below=0.15)
BOTH = Reclaim(after=604800.0, when_free_below=0.15)


def weak(destination: str) -> Evidence:
    """Only size and mtime were compared there."""
    return Evidence(destination, b"stat:1:2", "stat", PROVED, SIZE)


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
        (
            Reclaim(after=0.0), ["a"], [replace(proof("a"), size=SIZE + 1)], None, 0.0,
            Verdict(False, "at a, not as many bytes were proved as it has"),
        ),
        (WEEK, ["a"], [proof("a")], 0.0, 604800.0, Verdict(True, "proved at a 7 d ago")),
        (Reclaim(after=0.0), ["a"], [proof("a"), replace(proof("z"), size=2)], None, 0.0, Verdict(True, "proved at a 0 ms ago")),
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
    assert retention(reclaim, required, SIZE, evidence, free, PROVED + after) == verdict


names = st.sampled_from("abcd")
policies = st.none() | st.builds(
    Reclaim, after=st.none() | st.floats(0, 1e7), when_free_below=st.none() | st.floats(0, 1),
    evidence=st.sampled_from(["checksum", "stat"]),
)  # fmt: skip
proofs = st.builds(
    Evidence,
    names,
    st.just(b"x"),
    st.sampled_from(["sha256", "stat"]),
    st.floats(0, 2e9),
    st.sampled_from([SIZE, SIZE + 1]),
)
evidence_st = st.lists(proofs, max_size=6)
free_st = st.none() | st.floats(0, 1)


@st.composite
def accepted(draw: st.DrawFn) -> tuple[Reclaim, set[str], list[Evidence], float | None, float]:
    """What may go: every required destination has proof of the kind that is wanted, and the time has come or space is short."""
    required = draw(st.sets(names, min_size=1))
    kind = draw(st.sampled_from(["checksum", "stat"]))
    algorithms = st.just("sha256") if kind == "checksum" else st.sampled_from(["sha256", "stat"])
    evidence = [Evidence(name, b"x", draw(algorithms), draw(st.floats(0, 2e9)), SIZE) for name in sorted(required)]
    evidence += [one for one in draw(evidence_st) if one.destination not in required]
    proved_at = max(one.proved_at for one in evidence if one.destination in required)
    if draw(st.booleans()):
        after = draw(st.floats(0, 1e7))
        now = proved_at + after + draw(st.floats(0, 1e9))
        return Reclaim(after=after, evidence=kind), required, evidence, draw(free_st), now
    free = draw(st.floats(0, 0.9))
    below = draw(st.floats(free, 1, exclude_min=True))
    return Reclaim(when_free_below=below, evidence=kind), required, evidence, free, draw(st.floats(0, 4e9))


@laws
@given(accepted(), st.data())
def test_nothing_goes_without_proof(
    case: tuple[Reclaim, set[str], list[Evidence], float | None, float], data: st.DataObject
) -> None:
    """What may go may not go without its policy, or without any one proof, or with one that is weaker or of another size."""
    reclaim, required, evidence, free, now = case
    assert retention(reclaim, required, SIZE, evidence, free, now).ok
    assert not retention(None, required, SIZE, evidence, free, now).ok
    assert not retention(reclaim, [], SIZE, evidence, free, now).ok
    assert not retention(reclaim, required, SIZE + 1, evidence, free, now).ok
    one = data.draw(st.sampled_from([one for one in evidence if one.destination in required]))
    others = [other for other in evidence if other is not one]
    assert not retention(reclaim, required, SIZE, others, free, now).ok
    assert not retention(reclaim, required, SIZE, [*others, replace(one, size=SIZE - 1)], free, now).ok
    weaker = retention(reclaim, required, SIZE, [*others, replace(one, algorithm="stat")], free, now)
    assert weaker.ok == (reclaim.evidence == "stat")
    if reclaim.after is None:
        assert not retention(reclaim, required, SIZE, evidence, None, now).ok
        assert not retention(reclaim, required, SIZE, evidence, reclaim.when_free_below, now).ok
    else:
        due = max(item.proved_at for item in evidence if item.destination in required) + reclaim.after
        assert retention(reclaim, required, SIZE, evidence, free, due).ok
        assert not retention(reclaim, required, SIZE, evidence, free, math.nextafter(due, -math.inf)).ok


@laws
@given(policies, st.sets(names), evidence_st, free_st, st.floats(0, 4e9))
def test_what_goes_is_proved(
    reclaim: Reclaim | None, required: set[str], evidence: list[Evidence], free: float | None, now: float
) -> None:
    """Whatever is known: only with a policy, and with proof of the version's size from every required destination."""
    proved = {
        one.destination
        for one in evidence
        if one.size == SIZE and (one.strong or (reclaim and reclaim.evidence == "stat"))
    }
    if reclaim is None or not required or not required <= proved:
        assert not retention(reclaim, required, SIZE, evidence, free, now).ok


@laws
@given(policies, st.sets(names), evidence_st, free_st, st.floats(0, 4e9))
def test_the_next_look_is_worth_it(
    reclaim: Reclaim | None, required: set[str], evidence: list[Evidence], free: float | None, now: float
) -> None:
    """A file that only has to wait may go at `again_at`, and not before."""
    verdict = retention(reclaim, required, SIZE, evidence, free, now)
    if verdict.again_at is not None:
        assert not verdict.ok
        assert retention(reclaim, required, SIZE, evidence, free, verdict.again_at).ok
        assert (
            retention(reclaim, required, SIZE, evidence, free, math.nextafter(verdict.again_at, -math.inf)) == verdict
        )


@pytest.mark.parametrize(
    ("age", "now", "verdict"),
    [
        (60.0, 99.0, Verdict(False, "it changed, or the agent started, less than 1 min ago", 100.0)),
        (60.0, 100.0, Verdict(True, "unmoved for 1 min and longer")),
        (0.0, 40.0, Verdict(True, "unmoved for 0 ms and longer")),
    ],
)
def test_a_file_lies_unmoved_first(age: float, now: float, verdict: Verdict) -> None:
    """For `min_age` since the agent saw it change; a file that must wait may go when that has passed."""
    assert unmoved(Reclaim(after=0.0, min_age=age), 40.0, now) == verdict


def test_a_minute_is_what_a_file_lies() -> None:
    """Without a word in the configuration."""
    assert Reclaim().min_age == 60.0


def test_a_doubtful_proof_does_not_count() -> None:
    """Of a destination that the rule needs; what the rule does not need does not matter."""
    both, now = [proof("a"), proof("b")], PROVED + 604800
    assert retention(WEEK, ["a", "b"], SIZE, both, None, now, {"b": "why"}) == Verdict(
        False, "the proof at b does not count: why"
    )
    assert retention(SPACE, ["a", "b"], SIZE, both, 0.0, now, {"b": "why"}).ok is False
    assert retention(WEEK, ["a"], SIZE, both, None, now, {"b": "why"}).ok


@pytest.mark.parametrize("network", [False, True])
@pytest.mark.parametrize("mounted", [None, False, True])
def test_only_an_unnamed_local_directory_is_in_doubt(mounted: bool | None, network: bool) -> None:
    """It may be the bare mount point of a share; the reason has the line to add."""
    found = mount_doubt("share", "/mnt/share", mounted, network)
    assert (found is not None) == (mounted is None and not network)
    assert found is None or ("`mounted = false`" in found and "[destinations.share]" in found)


@pytest.mark.parametrize(
    ("longest_gap", "now", "verdict"),
    [
        (0.0, 3700.0, Verdict(False, "its directory changed less than 1 h ago", 3701.0)),
        (0.0, 3700.5, Verdict(True, "its directory has not changed for 1 h")),
        (7200.0, 7300.0, Verdict(False, "its directory changed less than 2 h ago", 7301.0)),
        (7200.0, 7300.5, Verdict(True, "its directory has not changed for 2 h")),
    ],
)
def test_an_empty_directory_stays_for_an_hour_and_its_longest_gap(
    longest_gap: float, now: float, verdict: Verdict
) -> None:
    """It goes when it has lain unchanged for more than an hour and for more than the longest gap between two of its files."""
    assert unused(100.0, longest_gap, now) == verdict


def test_what_keeps_files_is_said_with_the_next_step() -> None:
    """A link that no rule delivers and copies that were taken at once keep files here; both say what a person can do."""
    assert leads_out_in_words("scans") == (
        'it has links to what no rule delivers: write `links = "skip"` into rule scans if they are no concern'
    )
    assert taken_at_once("box") == (
        "more than 10,000 files are gone from box within 1 h; see that they were taken, then"
        " `dropline verify box --accept missing`"
    )
