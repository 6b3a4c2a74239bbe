"""Questions to what may never answer: real threads that block in the kernel, in a pipe that nobody writes to."""

import os
import threading
from collections.abc import Callable, Iterator
from itertools import count

import pytest

from agent.host.asking import Asker, Silence


class Mute:
    """Answers with the number of the question, or with what comes through a pipe, which may be never."""

    def __init__(self) -> None:
        self.end, self.way = os.pipe()
        self.asked = 0
        self.hangs = False

    def __call__(self) -> str:
        self.asked += 1
        number = self.asked
        return os.read(self.end, 1).decode() if self.hangs else f"answer {number}"


@pytest.fixture
def mute() -> Iterator[Mute]:
    """One that answers until it is made to hang."""
    made = Mute()
    yield made
    os.close(made.way)


@pytest.fixture
def asker() -> Asker:
    """Asks with little patience, by a clock that counts its readings."""
    ticks = count(1)
    return Asker(lambda: float(next(ticks)), 0.05)


def test_a_place_that_answers_is_asked_each_time(asker: Asker, mute: Mute) -> None:
    """Nothing is taken from an earlier question; what the question raises is raised where it was asked."""

    def fail() -> str:
        raise ValueError("no")

    assert (asker.ask("/data", mute), asker.ask("/data", mute)) == ("answer 1", "answer 2")
    with pytest.raises(ValueError, match="no"):
        asker.ask("/data", fail)
    assert (asker.ask("/data", mute), asker.silent()) == ("answer 3", {})


def test_a_place_that_hangs_is_not_asked_a_second_time(asker: Asker, mute: Mute) -> None:
    """Whatever the question, the answer is since when there is none; other places are asked."""
    mute.hangs = True
    assert [asker.ask("/data", mute) for _ in range(5)] == [Silence(1.0)] * 5
    assert asker.ask("/data", lambda: 7) == Silence(1.0)
    assert (mute.asked, asker.silent()) == (1, {"/data": 1.0})
    assert asker.ask("/other", lambda: 7) == 7


def test_a_place_that_answers_again_is_asked_again(asker: Asker, mute: Mute, until: Callable[..., object]) -> None:
    """A late answer ends the silence."""
    mute.hangs = True
    assert asker.ask("/data", mute) == Silence(1.0)
    os.write(mute.way, b"x")
    until(lambda: not asker.silent(), "the late answer")
    mute.hangs = False
    assert asker.ask("/data", mute) == "answer 2"


def test_many_that_ask_at_once_share_the_question_that_is_not_answered(asker: Asker, mute: Mute) -> None:
    """One thread is left behind, not one for each of them."""
    mute.hangs = True
    found: list[object] = []
    threads = [threading.Thread(target=lambda: found.append(asker.ask("/data", mute))) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (found, mute.asked) == ([Silence(1.0)] * 10, 1)
