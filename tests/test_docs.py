"""What the documentation says is what the program has: commands, keys, defaults, metrics, names, links."""

import os
import pkgutil
import re
import tomllib
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import pydantic
import pytest
import typer
from prometheus_client import generate_latest
from pydantic import TypeAdapter
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from agent.app.configuration import check
from agent.cli import app
from agent.files.posix import durable
from agent.ledger import Datasets, Deliveries, DeliveryState, Files, Ledger, Reclaims, Scrubs, State
from agent.observe.file_inspector import FileInspector
from agent.observe.metrics import Metrics, Readings
from rules.actions import Command, Flow, Webhook
from rules.config.notify import EmailTable, NotifyTable, WebhookTable
from rules.config.settings import AgentTable, CollectionTable, DirectoryTable, GlobusTable, ScrubTable
from rules.datasets.conditions import KINDS
from rules.formats import FORMATS, format_of
from rules.naming import FIELDS
from rules.rule import Conditions, Reclaim, Rule, Sealing, Target, Together
from rules.units import in_words

CLI = (
    "demo", "globus", "instruments", "notifying", "options", "printing", "progress", "reports", "running", "sending", "service",
    "steering", "support", "verifying",
)  # fmt: skip
ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
TEXT = {page.relative_to(ROOT).as_posix(): page.read_text("utf-8") for page in PAGES}
RUN = "python3 bootstrap.py && .venv/bin/dropline run --watch ./inbox --to ./share"
TEST = "python3 bootstrap.py test && .venv/bin/pytest"


def rows(page: str) -> dict[str, list[str]]:
    """The rows of a page's tables: the code at the beginning of the first cell → all cells."""
    found = {}
    for line in TEXT[page].splitlines():
        cells = [cell.strip().replace(r"\|", "|") for cell in re.split(r"(?<!\\)\|", line)][1:-1]
        if cells and (first := re.match(r"`([^`]+)`", cells[0])):
            assert first[1] not in found, f"{page} has two rows for {first[1]}"
            found[first[1]] = cells
    return found


# The command line


def commands() -> dict[str, list[str]]:
    """The options of each command, `dropline` itself among them."""
    top: Any = typer.main.get_command(app)
    every = {"dropline": top}
    for name, command in top.commands.items():
        # A command with commands of its own does nothing by itself.
        inner = getattr(command, "commands", {"": command})
        every |= {f"dropline {name} {one}".rstrip(): found for one, found in inner.items()}
    found = {
        name: {option for one in command.params if one.param_type_name == "option" for option in one.opts}
        for name, command in every.items()
    }
    found["dropline"].add("--help")  # every command has it; one row says so
    return {name: sorted(options) for name, options in found.items()}


@pytest.mark.parametrize("command", commands())
def test_each_command_has_a_row_that_names_all_its_options_and_no_others(command: str) -> None:
    """The table of commands in OPERATIONS is the command line."""
    row = rows("docs/OPERATIONS.md")[command]
    assert sorted(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", row[1])) == commands()[command]


def test_every_documented_command_exists() -> None:
    """Whatever stands as `dropline NAME` anywhere is a command, or is said not to be there yet."""
    known = {*commands(), *(name.rpartition(" ")[0] for name in commands())}
    said = {
        one for text in TEXT.values() for one in re.findall(r"`(?:\.venv/bin/)?(dropline [a-z]+)(?: ([a-z]+)\b)?", text)
    }
    assert {first for first, _ in said} <= known
    groups = {name.split(" ")[1] for name in commands() if name.count(" ") == 2}
    assert {f"{first} {second}" for first, second in said if second and first.split(" ")[1] in groups} <= known


# The configuration


def fields_of(table: Any) -> dict[str, FieldInfo]:
    """The keys of a table: a model, or a dataclass."""
    if not is_dataclass(table):
        table.model_rebuild()  # those in which others are nested
        found = dict(table.model_fields)
    else:
        hints = get_type_hints(table, include_extras=True)
        found = {one.name: dataclass_field(hints[one.name], one) for one in fields(table) if one.init}
    return {field.alias or key: field for key, field in found.items()}


def dataclass_field(hint: Any, field: Field[Any]) -> FieldInfo:
    """A field as a model would have it."""
    if field.default_factory is not MISSING:
        return FieldInfo.from_annotated_attribute(hint, pydantic.Field(default_factory=field.default_factory))
    default = PydanticUndefined if field.default is MISSING else field.default
    return FieldInfo.from_annotated_attribute(hint, default)


ACTIONS = (Webhook, Command, Flow)


def keys() -> dict[str, FieldInfo]:
    """Every key of the configuration as RULES writes it."""
    tables: list[tuple[str, type]] = [
        ("", AgentTable), ("", DirectoryTable), ("", Rule), ("complete.", Conditions), ("batch.", Sealing),
        ("deliver.", Target), ("reclaim.", Reclaim), ("dataset.", Together), ("scrub.", ScrubTable),
        *(("require.", kind) for kind in KINDS.values()), *(("then.", kind) for kind in ACTIONS),
        ("notify.", NotifyTable), ("notify.email.", EmailTable), ("notify.webhook.", WebhookTable),
    ]  # fmt: skip
    named = {prefix + key: field for prefix, table in tables for key, field in fields_of(table).items()}
    return {key: field for key, field in named.items() if key not in ("notify.email", "notify.webhook")}  # tables


@pytest.mark.parametrize("key", keys())
def test_each_key_has_a_row_with_its_true_default_and_an_example_that_is_accepted(key: str) -> None:
    """The defaults and examples in RULES are read by the program's own models."""
    field = keys()[key]
    _, _, default, example, meaning = rows("docs/RULES.md")[key]
    assert meaning
    marks = field.metadata if field.alias else [field]  # a name is nothing to a value alone
    read = TypeAdapter(Annotated[field.annotation, *marks]).validate_python  # type: ignore[valid-type]
    read(_toml(example))
    if field.default is None:
        assert not default.startswith("`"), "words, for it is not a value"
    elif key == "then.timeout":  # each kind has its own
        one, other = (in_words(fields_of(kind)["timeout"].default) for kind in (Webhook, Command))
        assert default == f"{one} for a webhook, {other} for a command"
    elif key == "deliver":
        assert (default, field.default) == ("required", ()), "a file must have it, a rule in the program need not"
    elif field.default == "":
        assert key == "state_dir", "the one that depends on the computer"
    elif field.default is not PydanticUndefined:
        assert read(_toml(default)) == field.default
    elif field.default_factory is None:
        assert default == (
            "one of these" if key.partition(".")[2] in (*KINDS, *(one.kind for one in ACTIONS)) else "required"
        )


def globus_keys() -> dict[str, FieldInfo]:
    """Every key of GLOBUS."""
    own = {f"globus.{key}": field for key, field in GlobusTable.model_fields.items()}
    return own | dict(CollectionTable.model_fields)


@pytest.mark.parametrize("key", globus_keys())
def test_each_key_of_globus_has_a_row(key: str) -> None:
    """The same for the tables of GLOBUS."""
    field = globus_keys()[key]
    _, _, default, example, _ = rows("docs/GLOBUS.md")[key]
    read = TypeAdapter(Annotated[field.annotation, field]).validate_python  # type: ignore[valid-type]
    read(_toml(example))
    if field.default is None:
        assert not default.startswith("`"), "words, for it is not a value"
    elif field.default is not PydanticUndefined:
        assert read(_toml(default)) == field.default
    else:
        assert default == "required"


def test_globus_documents_no_key_that_does_not_exist() -> None:
    """The tables of keys end where those of reasons begin."""
    keys = TEXT["docs/GLOBUS.md"].partition("## The keys")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `([\w.]+)`", keys, re.M)) == globus_keys().keys()


def _toml(cell: str) -> object:
    code = re.match(r"`(.*)`", cell)
    assert code is not None, f"{cell!r} is no code"
    return tomllib.loads(f"value = {code[1]}")["value"]


def test_rules_documents_no_key_that_does_not_exist() -> None:
    """A row of RULES is a key or a field of templates."""
    assert {row for row in rows("docs/RULES.md") if not row.startswith("{")} == keys().keys()


def test_each_template_field_has_a_row() -> None:
    """Template fields, `{mtime}` among them, are in RULES."""
    documented = {re.sub(r":.*", "}", row) for row in rows("docs/RULES.md") if row.startswith("{")}
    assert {f"{{{name}}}" for name in (*FIELDS, "mtime")} <= documented


def test_each_format_has_a_row_whose_names_are_of_that_format() -> None:
    """The table "What the format says" in RULES, and every ending in it."""
    section = TEXT["docs/RULES.md"].partition("### What the format says")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (\w+) \| (`.+?`) \|", section, re.M)
    assert sorted(format for format, _ in rows) == sorted(FORMATS)
    for format, names in rows:
        for name in re.findall(r"`(.+?)`", names):
            assert format_of(f"scan{name}" if name.startswith(".") else name.replace("*", "_1")) == format, name
    last = section.rpartition("Not told")[2]
    assert {format_of(f"scan{name}") for name in re.findall(r"`(\.\w+)`", last)} == {None}


def blocks(language: str) -> list[tuple[str, str]]:
    """(page, code) of each block of this language."""
    return [(page, code) for page, text in TEXT.items() for code in re.findall(rf"```{language}\n(.*?)```", text, re.S)]


def test_each_toml_block_is_a_good_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a reader copies, `dropline check` accepts."""
    for name in [name for name in os.environ if name.startswith("DROPLINE_")]:
        monkeypatch.delenv(name)
    for page, code in blocks("toml"):
        assert check(tomllib.loads(code), page, ROOT).rules


# Metrics, states, tables


def metrics(tmp_path: Path) -> dict[str, str]:
    """Names of the metrics as they are exposed, with their types."""
    ledger, registry = Ledger(str(tmp_path / "ledger.sqlite")), Metrics().registry
    try:
        registry.register(Readings(ledger, [], [], {}, lambda: 0.0, {}, FileInspector(lambda: 0.0, [])))
        text = generate_latest(registry).decode()
    finally:
        ledger.close()
    return dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.M))


def test_the_table_of_metrics_is_what_the_agent_exposes(tmp_path: Path) -> None:
    """Names and types in OPERATIONS."""
    documented = {name: cells[1] for name, cells in rows("docs/OPERATIONS.md").items() if name.startswith("dropline_")}
    assert documented == metrics(tmp_path)


def test_every_metric_that_is_mentioned_exists(tmp_path: Path) -> None:
    """In alerts and in prose, too."""
    used = {name for text in TEXT.values() for name in re.findall(r"\bdropline_[a-z_]+\b", text)}
    assert used - {"dropline_destination"} <= metrics(tmp_path).keys()  # that one is a key of the identity file


def test_every_state_is_explained() -> None:
    """States of files in DESIGN, of deliveries in OPERATIONS."""
    assert {state.value for state in State} <= set(re.findall(r"`(\w+)`", TEXT["docs/DESIGN.md"]))
    deliveries = rows("docs/OPERATIONS.md")["dropline_deliveries"][3]
    assert re.findall(r"`(\w+)`", deliveries) == [state.value for state in DeliveryState]


def test_the_tables_of_the_ledger_are_those_of_the_schema() -> None:
    """DESIGN names each table."""
    section = TEXT["docs/DESIGN.md"].partition("## The ledger's tables")[2]
    schema = (ROOT / "agent/ledger/schema.sql").read_text("utf-8")
    documented = re.findall(r"`(\w+)`", "".join(re.findall(r"^\|(.+?)\|", section, re.M)))
    assert sorted(documented) == sorted(re.findall(r"^CREATE TABLE (\w+)", schema, re.M))


def test_the_house_is_as_it_is_drawn() -> None:
    """Each folder is in DESIGN's tree, what is in the tree exists, and next to no module lies outside of a folder."""
    tree = TEXT["docs/DESIGN.md"].partition("## The house")[2].split("```")[1]
    drawn, stack = set(), [("", -1)]
    for line in tree.splitlines():
        found = re.match(r"( *)([a-z_0-9]+)/", line)
        if found is None or found[2] in ("tests", "deploy", "bench"):
            continue
        while stack[-1][1] >= len(found[1]):
            stack.pop()
        path = f"{stack[-1][0]}{found[2]}/"
        stack.append((path, len(found[1])))
        drawn.add(path.rstrip("/"))
    folders = {
        path.parent.relative_to(ROOT).as_posix() for top in ("agent", "rules") for path in (ROOT / top).rglob("*.py")
    }
    assert drawn == folders | {"rules/presets"}
    assert {path.stem for path in (ROOT / "agent").glob("*.py")} == {"__init__", "errors"}
    named = {"model", "rule", "match", "complete", "batch", "naming", "retention", "removal", "retry", "rate", "health"}
    loose = {path.stem for path in (ROOT / "rules").glob("*.py")} - named - {"__init__"}
    assert loose == {"links", "paths", "scrub", "text", "units"}


def test_every_name_in_the_code_exists() -> None:
    """`agent.intake.watch.Watch` and similar, and short forms such as `files.found`."""
    short = {
        "files": Files,
        "datasets": Datasets,
        "deliveries": Deliveries,
        "reclaims": Reclaims,
        "scrubs": Scrubs,
        "durable": durable,
    }
    for name in {one for text in TEXT.values() for one in re.findall(r"`((?:agent|rules)(?:\.\w+)+)`", text)}:
        assert pkgutil.resolve_name(name) is not None
    for owner, name in re.findall(rf"`({'|'.join(short)})\.(\w+)`", TEXT["docs/DESIGN.md"]):
        assert hasattr(short[owner], name), f"{owner}.{name}"


def test_each_promise_has_a_test_and_each_named_test_exists() -> None:
    """DESIGN's table of promises."""
    section = TEXT["docs/DESIGN.md"].partition("## The promises")[2].partition("\n## ")[0]
    promises = [line for line in section.splitlines() if re.match(r"\| \d+ ", line)]
    assert [int(line.split("|")[1]) for line in promises] == list(range(1, 11))
    for line in promises:
        _exist(line)


def _exist(text: str) -> None:
    """The text names tests, and there are all of them."""
    tests = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text)
    assert tests, text
    for path, name in tests:
        assert re.search(rf"^ *def {name}\(", (ROOT / path).read_text("utf-8"), re.M), f"{path}::{name}"


def test_each_attacker_has_promises_and_each_promise_a_test() -> None:
    """SECURITY's tables: one sentence a row, with tests that exist; the overview names each section, and what is not promised."""
    section = TEXT["docs/SECURITY.md"].partition("## Against whom")[2].partition("\n## ")[0]
    overview, *attackers = section.split("\n### ")
    rows = re.findall(r"^\| (.+?) \| \[.+\]\(#([\w-]+)\) \| (.+) \|$", overview, re.M)
    found = {text.partition("\n")[0]: text for text in attackers}
    assert found.popitem()[0] == "Not promised to anybody"
    assert [re.sub(r"[^\w -]", "", who).replace(" ", "-") for who, _, _ in rows] == [anchor for _, anchor, _ in rows]
    assert [who.lower() for who in found] == [who for who, _, _ in rows]
    for text in found.values():
        promises = [line for line in text.splitlines() if line.startswith("| ")][1:]
        assert promises, text
        for line in promises:
            sentence, tests = line[2:-2].split(" | ")
            assert re.fullmatch(r"[A-Z][^.!?]*(\.\w[^.!?]*)*\.", sentence), sentence
            _exist(tests)


# Links and commands


def links() -> Iterator[tuple[str, str]]:
    """(page, target) of each link inside the repository."""
    for page, text in TEXT.items():
        for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", text, flags=re.S)):
            if "://" not in target:
                yield page, target


@pytest.mark.parametrize(("page", "target"), sorted(set(links())))
def test_each_link_leads_somewhere(page: str, target: str) -> None:
    """To a file that exists, and to a heading that exists in it."""
    path, _, anchor = target.partition("#")
    file = (ROOT / page).parent / path if path else ROOT / page
    assert file.exists()
    if anchor:
        headings = re.findall(r"^#+ (.+)$", file.read_text("utf-8"), re.M)
        assert anchor in {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_decision_is_listed_in_the_first() -> None:
    """docs/decisions/0001 is the table of contents."""
    first = TEXT["docs/decisions/0001-record-decisions.md"]
    pages = sorted(path.name for path in (ROOT / "docs/decisions").glob("*.md"))[1:]
    assert re.findall(r"\(([\w-]+\.md)\)", first) == pages


def test_every_page_is_in_the_navigation_of_the_site() -> None:
    """mkdocs.yml has each page of docs/ once, and no other; decisions in their order."""
    nav = (ROOT / "mkdocs.yml").read_text("utf-8").partition("\nnav:\n")[2]
    named = re.findall(r"^ +- .+: (\S+\.md)$", nav, re.M)
    pages = sorted(path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md"))
    assert sorted(named) == pages
    decisions = [name for name in named if name.startswith("decisions/")]
    assert decisions == sorted(decisions)


def test_the_words_of_the_design_are_explained() -> None:
    """WORDS has every word of DESIGN's table, and every state of files and deliveries."""
    table = TEXT["docs/DESIGN.md"].partition("## The words")[2].partition("\nFile states")[0]
    words = [word for word in re.findall(r"^\| ([a-z]+) \|", table, re.M) if word != "word"]
    explained = {word.lower() for word in re.findall(r"^\*\*(\w+)\*\*", TEXT["docs/WORDS.md"], re.M)}
    assert explained == {*words, "transient", "refused"}
    files, deliveries = TEXT["docs/WORDS.md"].split("## States of a ")[1:3]
    assert set(re.findall(r"^\| `(\w+)`", files, re.M)) == {state.value for state in State}
    assert re.findall(r"^\| `(\w+)`", deliveries, re.M) == [state.value for state in DeliveryState]


def test_every_dependency_has_its_line_of_why() -> None:
    """docs/decisions/0002 covers pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    named = [re.split(r"[\[><=~! ]", need)[0] for need in project["dependencies"]]
    text = TEXT["docs/decisions/0002-dependencies.md"]
    assert re.findall(r"^\| ([a-z0-9-]+) \|", text, re.M)[1:] == named
    for needs in project["optional-dependencies"].values():
        for name in (re.split(r"[\[><=~! ]", need)[0] for need in needs):
            assert re.search(rf"\b{name}\b", text, re.I), name


def test_the_two_command_lines_are_in_the_readme_and_ci_runs_the_second() -> None:
    """A reader and CI run the same thing."""
    readme = TEXT["README.md"].splitlines()
    assert RUN in readme
    assert TEST in readme
    script = (ROOT / ".ci/run").read_text("utf-8").splitlines()
    assert "set -euo pipefail" in script
    assert script[-1] == TEST, "its summary is to be the last thing printed"
