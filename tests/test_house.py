"""Files are touched on two floors alone, connections are made in one place, and caches have bounds."""

import ast
import json
import re
import subprocess
import tomllib
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
RUFF = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["ruff"]["lint"]
BANNED = sorted(RUFF["flake8-tidy-imports"]["banned-api"])
FLOORS = ("agent/files/posix/tree.py", "agent/host/own_files.py")
OTHERS = ("agent/app/parts.py", "agent/destinations/directory/writer.py", "agent/x.py", "rules/config/load.py")
HEAD = {name: f"import {name}" for name in ("codecs", "io", "logging", "os", "pathlib")}
"""Modules that are not forbidden as a whole."""


def found(source: str, path: str) -> set[int]:
    """The lines in which the lint finds something, as if the source were the file there."""
    ruff = pytest.importorskip("ruff").find_ruff_bin()
    words = [
        ruff,
        "check",
        "--no-cache",
        "--output-format=json",
        "--select=TID251,PTH123",
        "--stdin-filename",
        path,
        "-",
    ]
    done = subprocess.run(words, input=source, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode in (0, 1), done.stderr
    return {one["location"]["row"] for one in json.loads(done.stdout)}


def imports() -> list[str]:
    """Each forbidden name, imported."""
    return [f"from {name.rpartition('.')[0]} import {name.rpartition('.')[2]}" for name in BANNED if "." in name] + [
        f"import {name}" for name in BANNED if name.partition(".")[0] not in HEAD
    ]


def calls() -> list[str]:
    """Each forbidden name of a module that has other things in it, called; and the built-in open."""
    return [f"{name}(HEAD)" for name in BANNED if name.partition(".")[0] in HEAD] + ["open(HEAD)", "open(HEAD).read()"]


@pytest.mark.parametrize("lines", [imports(), calls()], ids=["imports", "calls"])
@pytest.mark.parametrize("path", OTHERS)
def test_each_forbidden_name_is_found(path: str, lines: list[str]) -> None:
    """Wherever it stands, but on the two floors."""
    at = found("\n".join([*HEAD.values(), *lines]) + "\n", path)
    assert [line for number, line in enumerate(lines, len(HEAD) + 1) if number not in at] == []
    assert not at & set(range(1, len(HEAD) + 1)), "modules with other things in them are not forbidden as a whole"


@pytest.mark.parametrize("path", FLOORS)
def test_the_two_floors_may(path: str) -> None:
    """They do it for all the others."""
    assert found("\n".join([*HEAD.values(), *imports(), *calls()]) + "\n", path) == set()


def test_every_cache_has_a_bound() -> None:
    """What it remembers comes from names that others made: without a bound it fills the memory. Presets are the agent's own."""
    unbounded = {
        str(path.relative_to(ROOT))
        for room in ("agent", "rules")
        for path in (ROOT / room).rglob("*.py")
        if re.search(r"@(functools\.)?cache\b|maxsize=None", path.read_text())
    }
    assert unbounded == {"agent/app/presets.py"}


def test_what_is_left_touches_no_file() -> None:
    """Paths can be put together and taken apart everywhere."""
    source = "import os\nfrom pathlib import PurePath\nos.path.join('a', 'b')\nos.fsencode('a')\nPurePath('a').name\nos.getpid()\n"
    assert found(source, "agent/app/parts.py") == set()


def test_each_call_that_touches_a_file_is_forbidden() -> None:
    """The calls that were made in the program before, and those of the standard library that are as near at hand."""
    for name in (
        "os.open", "os.stat", "os.lstat", "os.scandir", "os.rename", "os.unlink", "os.fsync", "os.path.exists",
        "os.path.realpath", "pathlib.Path", "shutil", "tempfile", "io.open",
    ):  # fmt: skip
        assert name in BANNED
    assert {"TID251", "PTH123"} <= set(RUFF["select"])


@cache
def called(path: Path) -> set[str]:
    """The whole names, such as `socket.create_connection`, of what a module calls, or makes classes of, that it imports."""
    tree = ast.parse(path.read_text())
    whole: dict[str, str] = {}
    used: list[ast.expr] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for one in node.names:
                head = one.name.partition(".")[0]
                whole[one.asname or head] = one.name if one.asname else head
        elif isinstance(node, ast.ImportFrom):
            whole |= {one.asname or one.name: f"{node.module}.{one.name}" for one in node.names}
        elif isinstance(node, ast.Call):
            used.append(node.func)
        elif isinstance(node, ast.ClassDef):
            used += node.bases
    heads = [ast.unparse(one).partition(".") for one in used]
    return {f"{whole[head]}{dot}{rest}" for head, dot, rest in heads if head in whole}


def users(*names: str) -> set[str]:
    """The modules of the program that call one of these, or what is in them."""
    return {
        str(path.relative_to(ROOT))
        for room in ("agent", "rules")
        for path in (ROOT / room).rglob("*.py")
        if any(f"{one}.".startswith(f"{name}.") for one in called(path) for name in names)
    }


def test_connections_are_made_in_one_place() -> None:
    """So that each call has an end, in time and in bytes. The page listens, and systemd is sent datagrams."""
    assert users(
        "smtplib.SMTP", "smtplib.SMTP_SSL", "smtplib.LMTP", "ftplib", "imaplib", "poplib", "xmlrpc", "asyncio",
        "http.client.HTTPConnection", "http.client.HTTPSConnection", "socket.create_connection", "socket.getaddrinfo",
        "urllib.request.urlopen", "urllib.request.build_opener", "urllib.request.urlretrieve",
    ) == {"agent/host/network.py"}  # fmt: skip
    assert users("socket.socket") == {
        "agent/host/network.py",
        "agent/host/posix/supervisor.py",
        "agent/observe/web/server.py",
    }
    assert users("requests", "urllib3") == {"agent/destinations/globus/answers.py"}


def test_programs_are_started_in_three_places() -> None:
    """Those of the configuration, the system's own when a person asks for a service, and the agent's workers: each with a bound."""
    assert users("subprocess.Popen", "subprocess.run", "subprocess.check_output", "os.system", "os.popen") == {
        "agent/actions/command.py", "agent/host/service/programs.py", "agent/host/worker_process.py",
    }  # fmt: skip


def test_each_client_of_globus_has_a_patience() -> None:
    """Without `transport` a client of its library has no bounds."""
    made = [
        (path.name, node.lineno, {one.arg: ast.unparse(one.value) for one in node.keywords}.get("transport"))
        for path in (ROOT / "agent/destinations/globus").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("Client")
    ]
    assert len(made) >= 7
    assert [one for one in made if one[2] != "patience()"] == []


def swallows(handler: ast.ExceptHandler) -> bool:
    """Whether it catches whatever comes, and does not raise it again in every case."""
    caught = {one.id for one in ast.walk(handler.type) if isinstance(one, ast.Name)} if handler.type else {"Exception"}
    return bool(caught & {"Exception", "BaseException"}) and not isinstance(handler.body[-1], ast.Raise)


def test_whatever_comes_is_caught_in_few_places() -> None:
    """One item's trouble by the bulkhead alone; else where a thread, a pool or a process of the agent's ends, or a reload."""
    found = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "agent").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ExceptHandler) and swallows(node)
    }
    assert found == {
        "agent/host/bulkhead.py",
        "agent/host/asking.py", "agent/host/worker.py", "agent/host/worker_main.py", "agent/host/worker_process.py",
        "agent/actions/__init__.py", "agent/app/run.py", "agent/destinations/directory/transport.py",
        "agent/observe/web/__init__.py",
    }  # fmt: skip


_WORDS = {"reason", "message", "hint", "text", "why", "said", "words", "warning"}
"""Names of what is for people."""


def is_for_people(node: ast.expr) -> bool:
    """Whether it is such a variable or field, also in small letters or without its ends; or an exception as text."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name in _WORDS
        case ast.Call(func=ast.Attribute(value=value, attr="lower" | "upper" | "casefold" | "strip")):
            return is_for_people(value)
        case ast.Call(func=ast.Name(id="str"), args=[ast.Name(id="error" | "trouble" | "failure")]):
            return True
    return False


def is_wording(node: ast.expr) -> bool:
    """Whether it is a text of the program, or several."""
    match node:
        case ast.Constant(value=str() as value):
            return any(map(str.isalpha, value))
        case ast.Tuple(elts=elements) | ast.List(elts=elements) | ast.Set(elts=elements):
            return any(map(is_wording, elements))
        case ast.JoinedStr() | ast.Attribute(attr="value"):
            return True
        case ast.Name(id=name):
            return name.isupper()
    return False


def acts_on_wording(node: ast.AST) -> bool:
    """Whether it asks what a text for people says."""
    match node:
        case ast.Compare(left=left, comparators=others):
            return any(map(is_for_people, (left, *others))) and any(map(is_wording, (left, *others)))
        case ast.Call(func=ast.Attribute(value=value, attr="startswith" | "endswith" | "find" | "count"), args=args):
            return is_for_people(value) and any(map(is_wording, args))
        case ast.Call(func=ast.Attribute(value=ast.Name(id="re")), args=[_, what, *_]):
            return is_for_people(what) and ast.unparse(what) != "text"  # units and formats are read from texts
    return False


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("'cannot listen' in error.reason", True), ("file.reason in (Writer.OPEN.value,)", True), ("reason == GONE", True),
        ("message.lower().startswith('no')", True), ("re.search('x', hint)", True), ("'x' not in str(error)", True),
        ("known.reason != failure.reason", False), ("reason == ''", False), ("reason is None", False), ("state == 'up'", False),
    ],
)  # fmt: skip
def test_what_acts_on_wording_is_known(line: str, found: bool) -> None:
    """It is a text for people against one of the program."""
    assert any(map(acts_on_wording, ast.walk(ast.parse(line)))) is found


def test_nothing_acts_on_the_wording_of_a_message() -> None:
    """A field or a class says what happened. A Globus service says some things in words only: they are read in one place."""
    found = {
        str(path.relative_to(ROOT))
        for room in ("agent", "rules")
        for path in (ROOT / room).rglob("*.py")
        if any(map(acts_on_wording, ast.walk(ast.parse(path.read_text()))))
    }
    assert found == {"agent/destinations/globus/session.py"}
