"""What the page makes of text."""

import ast
import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from markupsafe import escape

from agent.observe.web.words import CODE, prose

ROOT = Path(__file__).resolve().parent.parent.parent
ROOMS = (
    "agent/actions", "agent/delivery", "agent/destinations", "agent/intake", "agent/observe", "agent/reclaim",
    "agent/scrub", "rules/datasets", "rules/globus", "rules/notice", "rules/versions",
)  # fmt: skip
"""Whose sentences the page shows, besides the modules of `rules` itself."""


def written() -> set[str]:
    """What stands between backticks in their strings, but for what is put together at run time."""
    found: set[str] = set()
    # rules.rule says what is wrong in a configuration: no page shows that.
    rules = [path for path in (ROOT / "rules").glob("*.py") if path.name != "rule.py"]
    files = [*rules, *(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))]
    for path in files:
        tree = ast.parse(path.read_text("utf-8"))
        prose = {id(one.value) for one in ast.walk(tree) if isinstance(one, ast.Expr)}  # docstrings
        for one in ast.walk(tree):
            if isinstance(one, ast.Constant) and isinstance(one.value, str) and id(one) not in prose:
                found |= set(re.findall("`([^`]+)`", one.value))
    return found


def test_what_our_sentences_have_between_backticks_is_code() -> None:
    """Commands and keys, each of them."""
    found = written()
    assert {"dropline retry", "path"} <= found
    assert {one for one in found if prose(f"do `{one}` now") != f"do <code>{escape(one)}</code> now"} == set()


@given(st.text(st.sampled_from("`<>&'\" -/adilnoprrety"), max_size=60))
def test_a_name_makes_no_code(name: str) -> None:
    """Whatever it has between backticks, alone or together with ours, but the very words of ours; nothing of it is a tag."""
    shown = prose(f"at share, {name!r} is `not` a file; then `dropline retry`")
    code = re.findall("<code>(.*?)</code>", shown)
    assert (code[-1:], set(code) <= set(CODE)) == (["dropline retry"], True)
    assert re.sub("</?code>", "", shown).count("<") == 0
