"""How fast files may go, and whether they may."""

import threading

import pytest

from agent.errors import Transient
from agent.host.rate_limiter import RateLimiter, TokenBucket


def test_what_passes_is_the_rate_whoever_asks() -> None:
    """Each waits for its own bytes and for all before it; time in which nothing passed is not saved up."""
    bucket = TokenBucket()
    assert [bucket.take(50, 100, now) for now in (0.0, 0.0, 0.25, 10.0, 10.0)] == [0.5, 1.0, 1.25, 0.5, 1.0]


def test_a_new_rate_counts_from_the_next_block() -> None:
    """What is waited for already is waited for."""
    bucket = TokenBucket()
    assert [bucket.take(50, rate, 0.0) for rate in (50, 100, 10)] == [1.0, 1.5, 6.5]


def test_together_goes_what_a_second_lets_pass() -> None:
    """And no more than there was to be."""
    assert (RateLimiter().together(32), RateLimiter(lambda: 8).together(32), RateLimiter(lambda: 64).together(32)) == (
        32,
        8,
        32,
    )


def test_paused_copying_stands_still_until_it_is_resumed_or_the_agent_stops() -> None:
    """Whoever must not stand still is told."""
    for end, said in ((RateLimiter.resume, []), (RateLimiter.stop, ["the agent stops"])):
        rate_limiter, found, asked = RateLimiter(), list[str](), threading.Event()

        def copy(
            rate_limiter: RateLimiter = rate_limiter, found: list[str] = found, asked: threading.Event = asked
        ) -> None:
            asked.set()
            try:
                rate_limiter.wrote(1)
            except Transient as error:
                found.append(str(error))

        rate_limiter.pause()
        thread = threading.Thread(target=copy)
        thread.start()
        asked.wait()
        with pytest.raises(Transient, match="paused"):
            rate_limiter.ask(1)
        assert thread.is_alive()
        end(rate_limiter)
        thread.join(10)
        assert (thread.is_alive(), found) == (False, said)
