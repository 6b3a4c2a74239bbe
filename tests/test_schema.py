"""The JSON Schema of the configuration: editors and the program agree.

As a program, `python -m tests.test_schema` writes agent/app/descriptions.json anew from the documentation.
"""

import json
import re
import tomllib
from functools import cache
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from agent.app import presets
from agent.app.schema import schema
from rules.config.settings import AgentTable, CollectionTable, DirectoryTable, GlobusTable
from rules.datasets.conditions import KINDS
from rules.rule import Conditions, Reclaim, Rule, Sealing, Target, Together
from tests.test_docs import ACTIONS, ROOT, blocks, fields_of, rows

DESCRIPTIONS = ROOT / "agent/app/descriptions.json"
TABLES: list[tuple[str, str, type]] = [
    ("docs/RULES.md", "", AgentTable), ("docs/RULES.md", "", DirectoryTable), ("docs/RULES.md", "", Rule),
    ("docs/RULES.md", "complete.", Conditions), ("docs/RULES.md", "batch.", Sealing),
    ("docs/RULES.md", "deliver.", Target), ("docs/RULES.md", "reclaim.", Reclaim), ("docs/RULES.md", "dataset.", Together),
    *(("docs/RULES.md", "require.", kind) for kind in KINDS.values()),
    *(("docs/RULES.md", "then.", kind) for kind in ACTIONS), ("docs/GLOBUS.md", "globus.", GlobusTable),
    ("docs/GLOBUS.md", "", CollectionTable),
]  # fmt: skip


@cache
def validator() -> Draft202012Validator:
    """Made when it is first needed: this module also runs where descriptions are missing."""
    return Draft202012Validator(schema())


def documented() -> dict[str, str]:
    """Table and key → what the documentation says it means, as plain text."""
    found = {}
    for page, prefix, table in TABLES:
        cells = rows(page)
        for key in fields_of(table):
            meaning = re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", cells[prefix + key][-1]).replace("**", "")
            found[f"{table.__name__}.{key}"] = meaning or "How files get there."
    return found


def config_errors(text: str) -> list[str]:
    """What the schema has against a TOML file."""
    return [error.message for error in validator().iter_errors(tomllib.loads(text))]


def test_the_schema_is_one() -> None:
    """It is good JSON Schema, without what TOML does not have."""
    Draft202012Validator.check_schema(schema())
    assert '"null"' not in json.dumps(schema())


def test_every_key_is_described_as_in_the_documentation() -> None:
    """descriptions.json is what the documentation says: `python -m tests.test_schema` writes it anew."""
    assert json.loads(DESCRIPTIONS.read_text("utf-8")) == documented()


@pytest.mark.parametrize("number", range(len(blocks("toml"))))
def test_every_example_of_the_documentation_is_taken(number: int) -> None:
    """What `dropline check` takes, an editor does not complain about."""
    assert config_errors(blocks("toml")[number][1]) == []


@pytest.mark.parametrize("name", presets.names())
def test_what_a_preset_sets_is_taken(name: str) -> None:
    """A rule that has everything of a preset written out."""
    data = presets.data(name)
    rule: dict[str, Any] = {key: data[key] for key in fields_of(Rule) if key in data}
    rule |= {"name": name, "watch": "/data", "deliver": [{"to": "share"}]}
    found = validator().iter_errors({"destinations": {"share": {"path": "/mnt"}}, "rules": [rule]})
    assert [error.message for error in found] == []


RULE = '[destinations.share]\npath = "/s"\n[[rules]]\nname = "r"\nwatch = "/w"\ndeliver = [{ to = "share" }]\n'
WRONG = {
    "unknown table": RULE + '[agnet]\nlisten = ""\n',
    "unknown key": RULE + 'inclde = ["*"]\n',
    "unknown key inside": RULE + 'complete = { quit = "10s" }\n',
    "unknown key of a destination": RULE + '[destinations.other]\npath = "/o"\nchecksums = "md5"\n',
    "missing key": RULE.replace('watch = "/w"\n', ""),
    "a duration without unit": RULE + "complete = { quiet = 10 }\n",
    "a unit that there is not": RULE + 'complete = { quiet = "10 years" }\n',
    "a size that is none": RULE + 'batch = { max_bytes = "50 gigs" }\n',
    "a percentage that is none": RULE + "reclaim = { when_free_below = 15 }\n",
    "a preset that there is not": RULE + 'preset = "ilumina"\n',
    "a checksum that there is not": RULE + '[destinations.other]\npath = "/o"\nchecksum = "crc32"\n',
    "a name that is none": RULE.replace('name = "r"', 'name = "a b"'),
}


@pytest.mark.parametrize("config_error", WRONG)
def test_a_mistake_is_shown_in_the_editor(config_error: str) -> None:
    """What `dropline check` refuses for its form, the schema refuses, too; without the error it takes it."""
    assert config_errors(RULE) == []
    assert len(config_errors(WRONG[config_error])) == 1


def test_defaults_are_shown_as_they_are_written() -> None:
    """Durations as text, and those of the program."""
    tables = schema()["$defs"]
    assert tables["AgentTable"]["properties"]["sweep_every"]["default"] == "300s"
    assert tables["Sealing"]["properties"]["max_files"]["default"] == 500
    assert "default" not in tables["Conditions"]["properties"]["quiet"]


if __name__ == "__main__":
    DESCRIPTIONS.write_text(json.dumps(documented(), indent=2, ensure_ascii=False) + "\n", "utf-8")
    print(f"wrote {DESCRIPTIONS}")
