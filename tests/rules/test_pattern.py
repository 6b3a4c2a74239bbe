"""Regular expressions of the configuration, on what others wrote."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.config.config_error import RuleError
from rules.naming import facts
from rules.patterns.expression import AT_MOST, _Engine, compiled, each, match, search
from rules.patterns.glob import check_glob, takes
from rules.rule import Rule, Target

ENDLESS = r"(?P<run>([a-z]+)+)!$"
HOSTILE = "a" * 200
SENSIBLE = (
    r"(?P<proposal>[^/]+)/(?P<scan>scan_\d+)/", r"^(?P<run>.+?)_(?P<n>\d+)\.h5$", r"(?i)\.TIFF?$", r"(?<=run)\d+",
    r"(?P<dir>.*/)?(?P<name>[^/]*)",
)  # fmt: skip


@pytest.mark.parametrize("way", [search, match, each])
def test_a_pattern_that_does_not_end_does_not_match(way: object) -> None:
    """After a bounded time, also where the name is not UTF-8; the next name is matched as ever."""
    began = time.process_time()
    assert not way(compiled(ENDLESS), HOSTILE + "\udcff")  # type: ignore[operator]
    assert time.process_time() - began < 10 * AT_MOST
    assert way(compiled(ENDLESS), "ok!")  # type: ignore[operator]


def test_a_hostile_name_is_placed_without_its_groups() -> None:
    """The groups of `capture` are empty for it, as for every name that the expression does not match."""
    rule = Rule("r", "/data", deliver=(Target("s", "{run}"),), capture=compiled(ENDLESS))
    assert facts(rule, HOSTILE, 0, "host")["run"] == ""
    assert facts(rule, "ok!", 0, "host")["run"] == "ok"


@pytest.mark.parametrize("stars", [3, 5, 20, 100])
def test_a_pattern_of_names_ends(stars: int) -> None:
    """`*_*_*_*_*.tif` would take a minute for a name of 250 underscores, with another star an hour."""
    pattern = "_".join("*" * stars) + ".tif"
    began = time.process_time()
    assert not takes((pattern,), "_" * 250)
    assert not takes(("**/" * min(stars, 9) + "x", pattern), "a/" * 2000 + "_" * 250)
    assert time.process_time() - began < 10 * AT_MOST
    assert takes((pattern,), "_" * 250 + ".tif")
    assert takes((pattern, "!" + pattern), "_" * 250 + ".tif") is False


def test_a_long_pattern_is_a_mistake() -> None:
    """Of 1,000 characters it is a pattern, of more it is none."""
    check_glob("a" * 1000)
    with pytest.raises(ValueError, match=r"^'a{200}' is longer than 1000 characters$"):
        check_glob("a" * 1001)


@given(st.sampled_from(SENSIBLE), st.one_of(st.text(max_size=60), st.from_regex(SENSIBLE[1])))
def test_what_matches_is_what_python_matches(pattern: str, text: str) -> None:
    """The same spans and groups as the standard library finds."""
    for found, expected in (
        (search(pattern, text), re.search(pattern, text)),
        (match(compiled(pattern), text), re.match(pattern, text)),
    ):
        assert (found and (found.span(), found.groupdict())) == (expected and (expected.span(), expected.groupdict()))


@pytest.mark.parametrize("text", ["(", "(?P<1>x)", "a{99999999999}", "(?P<a>x)(?P<a>y)", "[z-a]", "*"])
def test_what_is_no_pattern_is_said(text: str) -> None:
    """In the words of the standard library."""
    with pytest.raises(ValueError, match="the regular expression does not compile: ") as caught:
        compiled(text)
    assert not isinstance(caught.value, RuleError)


class Endless:
    """A pattern of the engine that takes all the time it may, and remembers how long that was."""

    def __init__(self) -> None:
        self.limits: list[float] = []

    def search(self, text: str, timeout: float) -> None:
        """As the package `regex` has it."""
        self.limits.append(timeout)
        raise TimeoutError

    match = finditer = search


@pytest.mark.parametrize("how", ["search", "match", "finditer"])
def test_all_names_together_have_a_bound(how: str) -> None:
    """However many are hostile: some seconds for all of them, and a thousandth for each."""
    engine, endless = _Engine("x"), Endless()
    engine._pattern = endless
    for _ in range(2000):
        assert engine.ask(how, "a" * 200, None) is None
    assert sum(endless.limits) <= 2 * AT_MOST + 2000 * 0.001
    engine.ask(how, "a" * 10_000_000, None)
    assert endless.limits[-1] == AT_MOST
