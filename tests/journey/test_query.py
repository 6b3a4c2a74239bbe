"""Reports for programs: names that stay, and expressions that choose."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.journey.conftest import Site

TEXT = (Path(__file__).parent.parent.parent / "docs/OPERATIONS.md").read_text("utf-8")
DOCUMENTED = dict(re.findall(r"^- `([a-z]+)`: (`.*)$", TEXT, re.M))


@pytest.fixture
def used(site: "Site") -> "Site":
    """One file was delivered, and one refused."""
    site.put("a.dat", b"one")
    (site.share / "b.dat").write_bytes(b"theirs")
    site.put("b.dat", b"mine")
    assert site.once() == 1
    return site


def test_json_has_the_documented_names(used: "Site") -> None:
    """What the manual says stands at the top of each command's JSON: no name goes. More may come."""
    for command, line in DOCUMENTED.items():
        arguments = [command, str(used.inbox / "a.dat")] if command == "explain" else [command]
        found = used.dropline(*arguments, "--format", "json").json
        names = re.findall(r"`(\w+)`", re.sub(r"\(.*?\)", "", line))
        assert set(names) <= set(found if isinstance(found, dict) else found[0]), command


@pytest.mark.parametrize(
    ("arguments", "printed"),
    [
        (("status", "--jmespath", "files"), {"refused": 1, "verified": 1}),
        (("files", "--state", "refused", "--jmespath", "length(@)"), 1),
        (("files", "--format", "text", "--jmespath", "[].state | sort(@)"), ["refused", "verified"]),
        (("check", "--jmespath", "rules[0].name"), "r"),
        (("status", "--jmespath", "nothing.there"), None),
    ],
)
def test_an_expression_chooses(used: "Site", arguments: tuple[str, ...], printed: object) -> None:
    """JSON of what is found, whatever the format: null where that is nothing."""
    assert used.dropline(*arguments).json == printed


@pytest.mark.parametrize("expression", ["[[", "abs(@)", "", "nosuch(@)"])
def test_a_wrong_expression_is_one_line(used: "Site", expression: str) -> None:
    """It names the expression and what is wrong with it; exit code 2, and nothing on standard output."""
    done = used.dropline("status", "--jmespath", expression)
    assert (done.code, done.out, len(done.err.splitlines())) == (2, "", 1)
    assert f"the JMESPath expression {expression!r} finds nothing: " in done.err
    assert len(done.err) < 500
