"""What files say to datasets: read once, a part a pass, and what they say is remembered within a bound."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from agent.files import LOCAL, Tree
from agent.files.trouble import NotAFile
from agent.intake import content, texts
from agent.intake.content import Formats
from agent.intake.texts import Texts
from rules.datasets import reading
from rules.datasets.conditions import Marker
from rules.datasets.question import Answer, Found
from rules.formats import Finding, State

KEY = "key"
PART = 100
"""Bytes of a block here, and of what a pass reads."""


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is a megabyte else is a hundred bytes."""
    for name in ("BLOCK", "BEGINNINGS_A_PASS", "REST_A_PASS"):
        monkeypatch.setattr(texts, name, PART)


class Rig:
    """A folder with texts, of which is noted what is read."""

    def __init__(self, tree: Tree, folder: Path) -> None:
        self.tree, self.folder = tree, folder
        self.texts = Texts()
        self.read: list[str] = []

    def ask(self, name: str, key: str = KEY) -> Answer | Found:
        """How many characters a text has."""

        def lengths(blocks: Iterator[str]) -> Iterator[Answer | None]:
            count = 0
            for block in blocks:
                self.read.append(name)
                count += len(block)
                yield None
            yield Answer(*found, count)

        found = Found(name, os.stat(self.folder / name).st_size)
        return self.texts.answer(self.tree, name, found, key, lengths)

    def look(self, *names: str) -> list[int | str | None]:
        """A pass: what each says, or None."""
        self.texts.begin()
        answers = [self.ask(name) for name in names]
        return [None if isinstance(one, Found) else one.problem or one.value for one in answers]


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with LOCAL.tree(str(tmp_path)) as tree:
        yield Rig(tree, tmp_path)


def test_a_text_is_read_once_for_its_version(rig: Rig) -> None:
    """Not at each look; another version is read, and another question to the same is."""
    (rig.folder / "a").write_text("x" * 50)
    assert [rig.look("a") for _ in range(3)] == [[50]] * 3
    assert len(rig.read) == 2  # a block, and what the decoder holds at the end
    (rig.folder / "a").write_text("x" * 60)
    assert [rig.look("a") for _ in range(3)] == [[60]] * 3
    assert len(rig.read) == 4
    rig.texts.begin()
    assert (rig.ask("a", "other"), len(rig.read)) == (rig.ask("a"), 6)


def test_a_pass_reads_a_part_and_small_texts_do_not_wait(rig: Rig) -> None:
    """Whatever the others take."""
    for name in ("a", "b", "c"):
        (rig.folder / name).write_text("x" * 10 * PART)
    (rig.folder / "small").write_text("x")
    seen = [rig.look("a", "b", "c", "small") for _ in range(40)]
    assert seen[0] == [None] * 4
    assert max(rig.read.count(name) for name in "abc") <= 12
    first = {name: next(i for i, one in enumerate(seen) if one[at] is not None) for at, name in enumerate("abc")}
    assert max(first.values()) <= 30
    assert next(i for i, one in enumerate(seen) if one[3] == 1) <= 3


def test_a_text_that_changes_while_it_is_read_is_read_anew(rig: Rig) -> None:
    """At the next look but one: a file that never stays as it is keeps nobody busy."""
    (rig.folder / "a").write_text("x" * 3 * PART)
    assert rig.look("a") == [None]
    (rig.folder / "a").write_text("y" * 2 * PART)
    assert rig.look("a") == ["changed while it was read"]
    assert [rig.look("a") for _ in range(4)][-1] == [2 * PART]


def test_what_is_remembered_has_a_bound(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was asked for longest ago goes first."""
    monkeypatch.setattr(texts, "REMEMBERED", 3_000)
    for name in "abcd":
        (rig.folder / name).write_text("x")
        assert rig.look(name) == [1]
    rig.read.clear()
    assert [rig.look(name) for name in "dcba"] == [[1]] * 4
    assert rig.read == ["a", "a"]


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"", 0), ("\u20ac".encode() * PART, PART), (b"\xff\xe2\x82" * PART, 3 * PART), (b"\xe2\x82", 2)],
)
def test_blocks_end_anywhere(rig: Rig, content: bytes, says: int) -> None:
    """Also within a character, and in what is none."""
    (rig.folder / "a").write_bytes(content)
    assert [rig.look("a") for _ in range(9)][-1] == [says]


def test_what_is_no_text_or_too_large_says_so(rig: Rig) -> None:
    """Nothing of it is read."""
    large = Found("a", reading.LARGEST + 1)
    said = Marker.model_validate({"marker": "a", "contains": "x"}).read(large, iter(()), ())
    assert list(said) == [Answer(*large, problem="has more than 64 MiB, and is not read")]
    (rig.folder / "a").write_text("x")
    (rig.folder / "b").symlink_to("a")
    with pytest.raises(NotAFile):
        rig.look("b")


def test_looks_at_formats_are_some_a_pass_and_go_on_where_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    """At an unfinished file, too, which alone is looked at again; from the first on where a file has changed."""
    monkeypatch.setattr(content, "LOOKS_A_PASS", 2)
    formats, looked = Formats(), list[str]()
    states = dict.fromkeys("abcde", State.FINISHED) | {"d": State.OPEN}

    def look(name: str) -> Finding:
        looked.append(name)
        return Finding(states[name], "")

    def ask(changed_at: float, dataset: int = 1) -> tuple[str, int]:
        """A pass: what it looked at, and for how many there is a finding."""
        looked.clear()
        formats.begin()
        found = formats.made(dataset, changed_at, tuple("abcde"), [partial(look, name) for name in "abcde"])
        made = [one.unfinished for one in found if one]
        assert made == [states[name] is State.OPEN for name in "abcde"][: len(made)]
        return "".join(looked), 5 - found.count(None)

    assert [ask(1.0) for _ in range(3)] == [("ab", 2), ("cd", 4), ("d", 4)]
    states["d"] = State.CANNOT_TELL
    assert [ask(1.0) for _ in range(2)] == [("de", 5), ("", 5)]
    assert ask(1.0, dataset=2) == ("ab", 2)
    assert ask(2.0) == ("ab", 2)
    formats.forget(1)
    assert ask(2.0) == ("ab", 2)
