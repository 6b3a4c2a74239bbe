"""What is said of deletion on a Windows that the acceptance program has not run on."""

import json
import logging
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agent.app.configuration import read
from agent.app.run import once
from agent.cli import app as cli
from agent.host import acceptance
from agent.host.acceptance import CYCLES, Result, unseen
from agent.observe.web.views import Need, Views
from tests.agent.test_views import look, write

__all__ = ["look"]

GOOD = Result("Windows 10.0.22631", 1e9, CYCLES, wine=False)


@pytest.mark.parametrize(
    ("result", "why"),
    [
        (GOOD, None),
        (replace(GOOD, wine=True), "Wine is not Windows"),
        (replace(GOOD, cycles=99), "the program ran 99 cycles of 100000"),
        (replace(GOOD, failed=["oplocks"]), "a check failed or was left out: oplocks"),
    ],
)
def test_a_whole_run_without_a_failure_shows_that_deletion_works(
    tmp_path: Path, result: Result, why: str | None
) -> None:
    """On a real Windows; and what lacks is said."""
    file = tmp_path / "acceptance.json"
    file.write_text(json.dumps(asdict(result)))
    said = unseen("win32", file)
    assert said == (None if why is None else acceptance._UNSEEN.format(why=why))
    assert unseen("linux", file) is None


@pytest.mark.parametrize("text", [None, "", "[]", "{}", '{"system": 1}', "x" * 70_000])
def test_a_result_that_is_none_shows_nothing(tmp_path: Path, text: str | None) -> None:
    """It is absent, cut off, or of another program."""
    file = tmp_path / "acceptance.json"
    if text is not None:
        file.write_text(text)
    assert unseen("win32", file) == acceptance._UNSEEN.format(why="no result is on this computer")


def test_it_is_said_where_files_are_deleted_and_nowhere_else(
    tmp_path: Path, look: Callable[..., Views], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """By `check`, by the log when the agent starts, by `status` and on the page."""
    monkeypatch.setattr(acceptance, "unseen", lambda: "deletion has not been seen")

    def said() -> list[bool]:
        caplog.clear()
        config = write(tmp_path, "share", rule=rule)
        with caplog.at_level(logging.WARNING):
            once(read(config))
        ran = [CliRunner().invoke(cli, [command, "--config", str(config)]).output for command in ("check", "status")]
        need = Need("Deletion has not been seen on this computer", "deletion has not been seen")
        return [
            *("deletion has not been seen" in text for text in (*ran, caplog.text)),
            need in look().front("")["needs"],
        ]

    rule = ""
    assert said() == [False] * 4
    rule = 'reclaim = { after = "1h" }\n'
    assert said() == [True] * 4
