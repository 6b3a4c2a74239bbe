"""How long to wait before something is tried again."""

RETRY_AT_MOST = 60.0


def backoff(attempt: int, at_most: float = RETRY_AT_MOST) -> float:
    """Seconds to wait after so many failures in a row."""
    return float(min(2.0 ** min(max(attempt - 1, 0), 30), at_most))
