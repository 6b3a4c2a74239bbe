"""How long to wait before something is tried, or looked at, again."""

RETRY_AT_MOST = 60.0
_SOONEST, _LATEST = 2.0, 300.0
"""Seconds between two looks at what waits."""


def backoff(attempt: int, at_most: float = RETRY_AT_MOST) -> float:
    """Seconds to wait after so many failures in a row."""
    return float(min(2.0 ** min(max(attempt - 1, 0), 30), at_most))


def look_again(since: float, now: float, took: float = 0.0) -> float:
    """When to look again at what has waited since then for something to happen: after a tenth of the time.

    It is for what no event announces; whoever hears of an event looks at once. A look that `took` so many seconds is not
    taken more than a tenth of the time.
    """
    return now + max(min(max((now - since) / 10, _SOONEST), _LATEST), 10 * took)
