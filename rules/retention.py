"""May the local copy of this exact version be deleted now?"""

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType

from rules.model import STAT, Evidence, Verdict
from rules.rule import Reclaim
from rules.units import in_words

TAKEN_AT_MOST, TAKEN_WITHIN = 10_000, 3600.0
"""Copies that may be found gone in so many seconds where files are taken away, before a person must say that they were."""


def retention(
    reclaim: Reclaim | None,
    required: Collection[str],
    size: int,
    evidence: Sequence[Evidence],
    free: float | None,
    now: float,
    doubts: Mapping[str, str] = MappingProxyType({}),
) -> Verdict:
    """Whether the policy and the evidence allow it. What stands at the destinations now is asked again afterwards.

    Args:
        reclaim: the rule's policy; None keeps for ever.
        required: names of the destinations that must have the version.
        size: bytes of the version.
        evidence: what is known for exactly this version.
        free: fraction of free space where the file lies, None when unknown.
        now: seconds since the epoch.
        doubts: destinations whose proof does not count here, with the reason.
    """
    if reclaim is None:
        return Verdict(False, "the rule keeps files for ever")
    if not required:
        return Verdict(False, "the rule delivers to no destination")
    proved = {item.destination: item.proved_at for item in evidence}
    missing = sorted(set(required) - set(proved))
    if missing:
        return Verdict(False, f"not proved at {', '.join(missing)}")
    other = sorted(item.destination for item in evidence if item.destination in required and item.size != size)
    if other:
        return Verdict(False, f"at {', '.join(other)}, not as many bytes were proved as it has")
    doubted = sorted(set(required) & set(doubts))
    if doubted:
        return Verdict(False, f"the proof at {doubted[0]} does not count: {doubts[doubted[0]]}")
    weak = sorted(item.destination for item in evidence if item.destination in required and not item.strong)
    if weak and reclaim.evidence != STAT:
        return Verdict(
            False, f"at {', '.join(weak)}, only size and mtime were compared, and the rule demands a checksum"
        )
    proved_at = max(proved[name] for name in required)
    if reclaim.when_free_below is not None and free is not None and free < reclaim.when_free_below:
        return Verdict(True, f"proved at {', '.join(sorted(required))}; {free:.1%} free")
    if reclaim.after is None:
        return Verdict(False, "there is enough free space" if free is not None else "its free space is unknown")
    due = proved_at + reclaim.after
    if now < due:
        return Verdict(False, f"kept until {in_words(reclaim.after)} after its proof", due)
    return Verdict(True, f"proved at {', '.join(sorted(required))} {in_words(now - proved_at)} ago")


def unmoved(reclaim: Reclaim, since: float, now: float) -> Verdict:
    """Whether the local file has lain unmoved for long enough: a program may open it, append to it and close it again.

    Args:
        reclaim: the rule's policy.
        since: since when this run of the agent has seen its size, times and identity as they are, by the agent's clock.
        now: by the same clock.
    """
    until = since + reclaim.min_age
    if now < until:
        return Verdict(False, f"it changed, or the agent started, less than {in_words(reclaim.min_age)} ago", until)
    return Verdict(True, f"unmoved for {in_words(reclaim.min_age)} and longer")


EMPTY_FOR = 3600.0
"""Seconds for which an empty directory lies unchanged at the least, before it is removed."""


def unused(since: float, longest_gap: float, now: float) -> Verdict:
    """Whether an empty directory may go: nothing may be expected to come into it any more.

    Args:
        since: since when the agent has seen it unchanged, by the agent's clock.
        longest_gap: seconds between two files that came into it one after the other, at the most.
        now: by the same clock.
    """
    until = since + max(EMPTY_FOR, longest_gap)
    if now <= until:
        return Verdict(False, f"its directory changed less than {in_words(until - since)} ago", until + 1.0)
    return Verdict(True, f"its directory has not changed for {in_words(until - since)}")


def taken_at_once(destination: str) -> str:
    """Why nothing is deleted where more is gone than anybody takes: after a snapshot was rolled back, or an accident."""
    return (
        f"more than {TAKEN_AT_MOST:,} files are gone from {destination} within {in_words(TAKEN_WITHIN)}; see that they were"
        f" taken, then `dropline verify {destination} --accept missing`"
    )


def mount_doubt(name: str, path: str, mounted: bool | None, network: bool) -> str | None:
    """Why nothing may be deleted on the proof of a destination directory; None: its proof counts.

    Args:
        name: of the destination.
        path: its directory.
        mounted: what the configuration says: an ordinary folder (False), a mount (True), or nothing.
        network: it is on a network file system now, so it is no bare mount point.
    """
    if mounted is not None or network:
        return None
    return (
        f"{path} is not on a network file system, so it may be the bare mount point of a share; add `mounted = false` to"
        f" [destinations.{name}] if it is an ordinary folder of this computer, `mounted = true` if a share belongs there"
    )
