"""One item's trouble is one item's: it waits longer and longer, is named once, and what was written for it is undone."""

import errno
import itertools
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from agent.errors import Exhausted, LedgerError, Refused, Transient
from agent.files import Trouble, What
from agent.host.bulkhead import _REMEMBERED, LONGEST_WAIT, Bulkhead, Failure


def words() -> Bulkhead[str]:
    return Bulkhead("word", str, through=(KeyError,))


def test_the_others_are_handled_whatever_one_raises() -> None:
    """Any exception but those that say nothing of the item, in its place in the order."""
    done: list[str] = []
    failed: list[tuple[str, str]] = []
    errors: dict[str, Exception] = {
        "b": RuntimeError("odd"), "d": RecursionError("deep"), "e": UnicodeEncodeError("utf-8", "\ud800", 0, 1, "half"),
        "f": OSError(errno.ENOSPC, "full"), "g": Transient("away"), "h": Refused("wrong", "mend it"),
        "i": Trouble(What.DAMAGED, "a bad sector"), "j": ValueError("x" * 1000),
    }  # fmt: skip
    for one in words().each("abcdefghijk", failed=lambda item, why: failed.append((item, why.reason))):
        with one as item:
            if item in errors:
                raise errors[item]
            done.append(item)
    assert done == ["a", "c", "k"]
    assert failed == [
        ("b", "RuntimeError: odd"), ("d", "RecursionError: deep"),
        ("e", r"UnicodeEncodeError: 'utf-8' codec can't encode character '\ud800' in position 0: half"),
        ("f", "OSError: [Errno 28] full"), ("g", "away"), ("h", "wrong; mend it"), ("i", "a bad sector"),
        ("j", f"ValueError: {'x' * 488}"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "error",
    [
        LedgerError("locked"), Exhausted("no processes"), MemoryError(), Trouble(What.EXHAUSTED, "no descriptors"),
        *(OSError(number, "") for number in (errno.EMFILE, errno.ENFILE, errno.ENOMEM)),
        KeyError("of all"), KeyboardInterrupt(), SystemExit(),
    ],
    ids=repr,
)  # fmt: skip
@pytest.mark.parametrize("together", [False, True])
def test_what_says_nothing_of_an_item_goes_on_to_the_pass(error: BaseException, together: bool) -> None:
    """The agent's own trouble, the ledger's, what a place lets through, and who ends the program."""
    bulkhead = words()

    def handle(some: Sequence[str]) -> None:
        raise error

    def one_by_one() -> None:
        for one in bulkhead.each("ab"):
            with one as item:
                handle(item)

    with pytest.raises(type(error)):
        bulkhead.together("ab", handle) if together else one_by_one()
    assert bulkhead.failure("a") is None


def test_what_fails_again_is_handled_less_and_less_often() -> None:
    """The time until the next attempt doubles up to a bound, and begins again when it went well."""
    bulkhead, tried = words(), list[float]()

    def until(end: float, *, well: bool = False) -> None:
        for now in itertools.takewhile(lambda at: at < end, itertools.count(int(end) - 1000)):
            for one in bulkhead.each("x", now):
                with one:
                    tried.append(now)
                    if not well:
                        raise RuntimeError

    until(1000.0)
    assert tried == [0, 1, 3, 7, 15, 31, 63, 127, 255, 511, 811]
    assert bulkhead.failure("x") == Failure("RuntimeError: ", 811 + LONGEST_WAIT, 11)
    assert bulkhead.failure("x", 811 + LONGEST_WAIT) is None
    tried.clear()
    until(2000.0, well=True)
    assert tried == [*range(1111, 2000)]
    assert bulkhead.failure("x") is None


def test_the_log_names_an_item_once_for_each_reason(caplog: pytest.LogCaptureFixture) -> None:
    """With the place in the program only where nobody foresaw it."""
    bulkhead = words()
    with caplog.at_level(logging.INFO, "agent"):
        for error in (RuntimeError("odd"), RuntimeError("odd"), Transient("away"), None, None):
            for one in bulkhead.each("x"):
                with one:
                    if error is not None:
                        raise error
    assert [(record.getMessage(), record.exc_info is not None) for record in caplog.records] == [
        ("word x: RuntimeError: odd; it waits, all else goes on", True),
        ("word x: away; it waits, all else goes on", False),
        ("word x: it goes on", False),
    ]


@pytest.mark.parametrize("bad", ["", "a", "c", "h", "bg", "abcdefgh"])
def test_items_are_handled_together_or_else_apart(bad: str) -> None:
    """What was written for a part that failed is undone; each good item is written once, each bad one is said to have failed."""
    written: list[str] = []
    failed: list[str] = []
    calls = 0

    @contextmanager
    def savepoint() -> Iterator[None]:
        before = len(written)
        try:
            yield
        except Exception:
            del written[before:]
            raise

    def handle(some: Sequence[str]) -> None:
        nonlocal calls
        calls += 1
        for item in some:
            written.append(item)
            if item in bad:
                raise RuntimeError(item)

    bulkhead = Bulkhead[str]("word", str, savepoint)
    bulkhead.together("abcdefgh", handle, 0.0, lambda item, why: failed.append(item))
    assert ("".join(written), "".join(failed)) == ("".join(sorted(set("abcdefgh") - set(bad))), bad)
    assert calls <= 1 + 6 * len(bad)
    written.clear(), failed.clear()
    calls = 0
    bulkhead.together("abcdefgh", handle, 0.5, lambda item, why: failed.append(item))
    assert ("".join(written), "".join(failed), calls) == ("".join(sorted(set("abcdefgh") - set(bad))), bad, 1)


def test_what_cannot_be_noted_harms_no_other(caplog: pytest.LogCaptureFixture) -> None:
    """Where even the note of a failure fails, the log says so."""
    done: list[str] = []

    def failed(item: str, why: Failure) -> None:
        raise ValueError(item)

    for one in words().each("abc", failed=failed):
        with one as item:
            if item == "b":
                raise RuntimeError
            done.append(item)
    assert done == ["a", "c"]
    assert "word b: that it failed could not be noted" in caplog.text


def test_what_is_remembered_has_a_bound() -> None:
    """An attacker's names do not fill the memory."""
    bulkhead = Bulkhead[int]("number", str)
    logging.getLogger("agent.host.bulkhead").setLevel(logging.CRITICAL)
    try:
        for one in bulkhead.each(range(_REMEMBERED + 10), 0.0):
            with one:
                raise Transient("away")
    finally:
        logging.getLogger("agent.host.bulkhead").setLevel(logging.NOTSET)
    assert len(bulkhead._failures) == _REMEMBERED
    assert (bulkhead.failure(9), bulkhead.failure(10)) == (None, Failure("away", 1.0, 1))
