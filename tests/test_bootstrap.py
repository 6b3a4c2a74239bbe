"""bootstrap.py as a person runs it, against a package index of our own that serves a pip of our own."""

from __future__ import annotations

import ast
import hashlib
import http.server
import io
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import threading
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

pytestmark = pytest.mark.slow
BOOTSTRAP = Path(__file__).parent.parent / "bootstrap.py"
SCRIPTS = "Scripts" if os.name == "nt" else "bin"
Version = tuple[int, ...]

# A pip that writes down how it was called, does what the file pip-does in the project says, and leaves what is in
# pip-installs as the command "dropline" of the environment that it runs in.
FAKE_PIP = """
import importlib.util, os, pathlib, signal, sys
if importlib.util.find_spec("intruder"):
    sys.exit("ERROR: PYTHONPATH is visible")
with open("pip-calls", "a") as calls:
    given = [sys.argv[at + 1] for at, word in enumerate(sys.argv) if word == "--requirement"]
    packages = [line.split("=")[0] for path in given for line in pathlib.Path(path).read_text().splitlines() if "==" in line]
    print(os.path.basename(os.path.dirname(sys.argv[0])), *sys.argv[1:], packages, file=calls)
does = pathlib.Path("pip-does").read_text()
(pathlib.Path(sys.prefix) / "half").touch()
if does == "kill":
    os.kill(os.getppid(), getattr(signal, "SIGKILL", signal.SIGTERM))
if does != "work":
    sys.exit("ERROR: no space left in the fake pip")
(pathlib.Path(sys.prefix) / "half").unlink()
command = pathlib.Path(sys.executable).parent / "dropline"
command.write_text(pathlib.Path("pip-installs").read_text())
command.chmod(0o755)
"""


class Index:
    """A package index on this machine: what it serves can be changed, what it was asked is remembered."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.pages: dict[str, bytes] = {}
        self.asked: list[tuple[str, str | None]] = []
        self.files: list[dict[str, Any]] = []
        self.offer("26.0")

    def offer(self, version: str, **facts: Any) -> None:
        """Add a pip of this version, with these facts in place of the true ones."""
        wheel = io.BytesIO()
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr("pip/__main__.py", FAKE_PIP)
        name = f"pip-{version}-py3-none-any.whl"
        self.sha256 = hashlib.sha256(wheel.getvalue()).hexdigest()
        self.pages[f"/files/{name}"] = wheel.getvalue()
        self.files.append({"filename": name, "url": f"../../files/{name}", "hashes": {"sha256": self.sha256}, **facts})
        self.pages["/simple/pip/"] = json.dumps({"meta": {"api-version": "1.0"}, "files": self.files}).encode()


@pytest.fixture
def index() -> Iterator[Index]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            ours.asked.append((self.path, self.headers["Authorization"]))
            body = ours.pages.get(self.path)
            self.send_response(404 if body is None else 200)
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        ours = Index(f"http://127.0.0.1:{server.server_port}/simple")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield ours
        server.shutdown()
        thread.join()


class Clone:
    """A clone of a project on a machine that has nothing but Python."""

    def __init__(self, root: Path, index: Index) -> None:
        self.root, self.venv, self.temp, self.index = root, root / ".venv", root.parent / "temp", index
        self.dropline = self.venv / SCRIPTS / "dropline"
        root.mkdir()
        self.temp.mkdir()
        shutil.copy(BOOTSTRAP, root)
        (root / "pyproject.toml").write_text("[project]\nname = 'dropline'\n")
        self.locks("26.0", index.sha256)
        self.pip_does("work")
        self.pip_installs("")

    def pip_installs(self, command: str) -> None:
        """What the installed `dropline` is."""
        (self.root / "pip-installs").write_text(command)

    def pip_does(self, what: str) -> None:
        (self.root / "pip-does").write_text(what)

    def locks(self, version: str, sha256: str) -> None:
        """What requirements.lock has: this pip, and one package in each section."""
        hash_ = f" \\\n    --hash=sha256:{'0' * 64}\n"
        pip = f"pip=={version} \\\n    --hash=sha256:{'1' * 64} \\\n    --hash=sha256:{sha256}\n"
        text = f"# Made\na==1{hash_}{pip}# test\nb==2{hash_}# dev\nc==3{hash_}"
        (self.root / "requirements.lock").write_text(text)

    def pip_calls(self) -> list[str]:
        """How pip was called. The packages of the file that it was given stand in brackets after the call."""
        calls = self.root / "pip-calls"
        return calls.read_text().splitlines() if calls.exists() else []

    def run(self, *arguments: str, python: Version = (), **env: str) -> subprocess.CompletedProcess[str]:
        """Run bootstrap.py to its end, with only this index set, on this Python or one that says it is another."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
        inherited.pop("XDG_CONFIG_HOME", None)
        here = {"HOME": str(self.root.parent), "TMPDIR": str(self.temp)}
        here |= {"PIP_INDEX_URL": self.index.url, "no_proxy": "*"}
        command = [sys.executable, str(self.root / "bootstrap.py"), *arguments]
        if python:
            script = f"runpy.run_path({command[1]!r}, run_name='__main__')"
            command[1:2] = ["-c", f"import runpy, sys; sys.version_info = (*{python}, 'final', 0); {script}"]
        return subprocess.run(command, env=inherited | here | env, capture_output=True, text=True, check=False)

    def fails(self, *arguments: str, python: Version = (), **env: str) -> str:
        """Run bootstrap.py, which must fail with a single line for people; that line."""
        done = self.run(*arguments, python=python, **env)
        assert done.returncode == 1, done
        lines = [line for line in done.stderr.splitlines() if not line.startswith("ERROR: ")]
        assert len(lines) == 1, done.stderr
        assert lines[0].startswith("bootstrap: ")
        return lines[0]

    def tree(self) -> dict[str, int]:
        """Every file of .venv with its time of change."""
        return {str(path): path.lstat().st_mtime_ns for path in self.venv.rglob("*")}


@pytest.fixture
def clone(tmp_path: Path, index: Index) -> Clone:
    return Clone(tmp_path / "clone", index)


@pytest.mark.parametrize(
    ("extra", "packages"),
    [
        ("", ["a", "pip"]),
        ("test", ["a", "pip", "b"]),
        ("dev", ["a", "pip", "b", "c"]),
        ("bench", ["a", "pip", "b", "c"]),
    ],
)
def test_a_fresh_clone_gets_what_the_lock_has_and_an_editable_install(
    clone: Clone, extra: str, packages: list[str]
) -> None:
    """Wheels with known hashes, those that the extra needs; then the project, which fetches nothing; nothing else is left."""
    done = clone.run(*extra.split())
    assert (done.returncode, done.stderr) == (0, "")
    assert clone.dropline.exists()
    first, second = clone.pip_calls()
    assert first.startswith("pip-26.0-py3-none-any.whl install ")
    assert " --require-hashes --only-binary=:all: --requirement " in first
    assert first.endswith(f" {packages}")
    assert second.endswith(" --no-index --no-deps --no-build-isolation --editable . []")
    assert list(clone.temp.iterdir()) == []


def test_the_second_run_does_nothing(clone: Clone) -> None:
    """When .venv is current, a run asks the index for nothing, changes no file and says so in one line."""
    clone.run("test")
    before = clone.tree(), list(clone.index.asked), clone.pip_calls()
    for arguments in ((), ("test",)):
        done = clone.run(*arguments)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == f"bootstrap: {clone.venv} is current, nothing to do\n"
    assert (clone.tree(), clone.index.asked, clone.pip_calls()) == before


def test_an_extra_is_added_to_what_is_there(clone: Clone) -> None:
    """Asking for more than .venv has adds it without making .venv anew."""
    clone.run()
    (clone.venv / "kept").touch()
    assert clone.run("test").returncode == 0
    assert (clone.venv / "kept").exists()
    assert ["'b'" in call for call in clone.pip_calls()] == [False, False, True, False]


def test_an_interrupted_addition_is_repaired(clone: Clone) -> None:
    """A run that is killed while it adds an extra leaves a .venv that even a run without extras makes anew."""
    clone.run()
    clone.pip_does("kill")
    assert clone.run("test").returncode != 0
    clone.pip_does("work")
    assert clone.run().returncode == 0
    assert not (clone.venv / "half").exists()


@pytest.mark.parametrize("name", ["pyproject.toml", "requirements.lock"])
def test_a_changed_project_makes_the_environment_anew(clone: Clone, name: str) -> None:
    """After a change of what is needed, or of its versions, .venv is made again, with the extra that it had."""
    clone.run("test")
    (clone.venv / "stale").touch()
    with (clone.root / name).open("a") as file:
        file.write("# changed\n")
    assert clone.run().returncode == 0
    assert not (clone.venv / "stale").exists()
    assert "'b'" in clone.pip_calls()[2]


def test_a_moved_clone_makes_its_environment_anew(clone: Clone) -> None:
    """A .venv that was moved with its clone is made again, because its scripts name the old place."""
    clone.run()
    moved = clone.root.rename(clone.root.with_name("moved"))
    (moved / ".venv" / "stale").touch()
    clone.root = moved
    assert clone.run().returncode == 0
    assert not (moved / ".venv" / "stale").exists()


def test_another_python_makes_the_environment_anew(clone: Clone) -> None:
    """A .venv of another minor version of Python is made again, and one of another patch release is current."""
    clone.run()
    (clone.venv / "stale").touch()
    assert "is current" in clone.run(python=(*sys.version_info[:2], 99)).stdout
    assert clone.run(python=(3, 99, 0)).returncode == 0
    assert not (clone.venv / "stale").exists()


def test_an_environment_whose_python_is_gone_is_made_anew(clone: Clone) -> None:
    """When the interpreter in .venv leads nowhere, as after an upgrade of the system, .venv is made again."""
    clone.run()
    python = clone.dropline.with_name("python")
    python.unlink()
    python.symlink_to("/nowhere/python3")
    assert clone.run().returncode == 0
    assert python.exists()


def test_what_is_on_pythonpath_is_not_for_pip(clone: Clone, tmp_path: Path) -> None:
    """pip does not see PYTHONPATH, as it would take what is there for installed."""
    (tmp_path / "intruder.py").touch()
    assert clone.run(PYTHONPATH=str(tmp_path)).returncode == 0


def test_an_interrupted_install_is_repaired(clone: Clone) -> None:
    """A run that is killed in the middle of pip leaves a .venv that the next run makes anew."""
    clone.pip_does("kill")
    assert clone.run().returncode != 0
    assert (clone.venv / "half").exists()
    clone.pip_does("work")
    assert clone.run().returncode == 0
    assert clone.dropline.exists()
    assert not (clone.venv / "half").exists()


@pytest.mark.parametrize("keep", [[], ["pyvenv.cfg"]], ids=["empty", "only pyvenv.cfg"])
def test_a_barely_begun_environment_is_repaired(clone: Clone, keep: list[str]) -> None:
    """A .venv in which a killed run had written next to nothing is made again."""
    clone.run()
    for path in clone.venv.iterdir():
        if path.name not in keep:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    assert clone.run().returncode == 0
    assert clone.dropline.exists()


def test_a_failed_install_is_not_taken_for_done(clone: Clone) -> None:
    """When pip fails the run fails in one line after pip's own words, and the next run tries again."""
    clone.pip_does("fail")
    assert "pip could not install" in clone.fails()
    clone.pip_does("work")
    assert clone.run().returncode == 0
    assert len(clone.pip_calls()) == 3, "where the first call fails there is no second"


def test_a_pip_that_the_lock_does_not_know_is_refused(clone: Clone) -> None:
    """Whatever the index states of it: it is never run, and nothing is installed."""
    clone.locks("26.0", "0" * 64)
    assert "refused pip-26.0-py3-none-any.whl" in clone.fails()
    assert clone.pip_calls() == []
    assert not clone.venv.exists()


def test_the_pip_of_the_lock_is_taken(clone: Clone) -> None:
    """And no newer one; where the index has it not, that is said."""
    clone.index.offer("27.0")
    assert clone.run().returncode == 0
    assert {call.partition(" ")[0] for call in clone.pip_calls()} == {"pip-26.0-py3-none-any.whl"}
    clone.locks("25.0", "0" * 64)
    assert "has no pip 25.0, which requirements.lock wants" in clone.fails()


@pytest.mark.parametrize("page", [None, b"<html>pip</html>", b"[]", b'{"files": [{}]}', b'{"files": []}'])
def test_an_index_without_a_usable_listing_is_named(clone: Clone, page: bytes | None) -> None:
    """An index that does not list pip as PEP 691 says is named in one line, and nothing is installed."""
    del clone.index.pages["/simple/pip/"]
    if page is not None:
        clone.index.pages["/simple/pip/"] = page
    assert f"{clone.index.url}/pip/" in clone.fails()
    assert not clone.venv.exists()


def test_without_a_network_an_old_environment_survives(clone: Clone) -> None:
    """When the index cannot be reached the run fails in one line and leaves an outdated .venv as it was."""
    clone.run()
    before = clone.tree()
    (clone.root / "pyproject.toml").write_text("[project]\nname = 'changed'\n")
    assert "http://127.0.0.1:1/simple/pip/" in clone.fails(PIP_INDEX_URL="http://127.0.0.1:1/simple")
    assert clone.tree() == before


def test_the_index_of_pip_conf_is_used(clone: Clone) -> None:
    """Without PIP_INDEX_URL the index is the one of pip's configuration file in the home folder."""
    conf = clone.root.parent / ".config" / "pip" / "pip.conf"
    conf.parent.mkdir(parents=True)
    conf.write_text(f"[global]\nindex-url = {clone.index.url}/\n")
    assert clone.run(PIP_INDEX_URL="").returncode == 0
    assert clone.index.asked[0] == ("/simple/pip/", None)
    conf.write_text("not a setting")
    (clone.venv / "bootstrap-stamp").unlink()
    assert str(conf) in clone.fails(PIP_INDEX_URL="")


def test_a_password_is_sent_and_not_shown(clone: Clone) -> None:
    """A user and password in the index's address are sent to it, and are in no message."""
    url = clone.index.url.replace("http://", "http://me:p%40ss@")
    clone.locks("26.0", "0" * 64)
    message = clone.fails(PIP_INDEX_URL=url)
    assert clone.index.asked[0][1] == "Basic bWU6cEBzcw=="  # me:p@ss
    assert "p%40ss" not in message
    clone.index.pages.clear()
    assert "p%40ss" not in clone.fails(PIP_INDEX_URL=url)


def test_an_environment_of_somebody_else_is_left_alone(clone: Clone) -> None:
    """A .venv that bootstrap.py did not make is refused by name and stays as it is."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(clone.venv)], check=True)
    before = clone.tree()
    assert str(clone.venv) in clone.fails()
    assert clone.tree() == before


def test_a_file_in_the_way_is_left_alone(clone: Clone) -> None:
    """A file called .venv is refused by name and stays as it is."""
    clone.venv.write_text("mine")
    assert str(clone.venv) in clone.fails()
    assert clone.venv.read_text() == "mine"


def test_unknown_arguments_do_nothing(clone: Clone) -> None:
    """A word that is no extra ends with status 2 before anything is made."""
    for arguments in (["tests"], ["test", "dev"], ["--test"]):
        done = clone.run(*arguments)
        assert done.returncode == 2
        assert len(done.stderr.splitlines()) == 1
    assert not clone.venv.exists()


def test_an_old_python_gets_one_line(clone: Clone) -> None:
    """A Python before 3.11 is told its version in one line, whatever the arguments, and nothing is made."""
    for arguments in ([], ["test"], ["nonsense"]):
        assert "this is Python 3.10.2:" in clone.fails(*arguments, python=(3, 10, 2))
    assert not clone.venv.exists()


def test_an_old_python_can_read_the_file() -> None:
    """bootstrap.py has no syntax that Python 3.7 does not know, as it must run to say that 3.7 is too old."""
    ast.parse(BOOTSTRAP.read_text("utf-8"), feature_version=(3, 7))


# The lock of the project itself

LOCK = (BOOTSTRAP.parent / "requirements.lock").read_text("utf-8")
PROJECT = tomllib.loads((BOOTSTRAP.parent / "pyproject.toml").read_text("utf-8"))


def needs(extra: str) -> Iterator[Requirement]:
    """What pyproject.toml asks for with an extra, and for what builds."""
    project = PROJECT["project"]
    yield from map(Requirement, [*project["dependencies"], *PROJECT["build-system"]["requires"]])
    for one in project["optional-dependencies"].get(extra, []):
        found = Requirement(one)
        if found.name == "dropline":
            yield from (need for inner in found.extras for need in needs(inner))
        else:
            yield found


@pytest.mark.parametrize("extra", ["", "test", "dev", "bench"])
def test_the_lock_has_a_version_of_all_that_is_needed(extra: str) -> None:
    """One that fits, in the sections that bootstrap.py takes for the extra: else `.ci/lock.py` was forgotten."""
    part = runpy.run_path(str(BOOTSTRAP))["locked"](LOCK, extra)
    pinned: dict[str, set[str]] = {}
    for name, version in re.findall(r"^(\S+)==(\S+)", part, re.M):
        pinned.setdefault(name, set()).add(version)
    wrong = [str(one) for one in needs(extra) if not any(map(one.specifier.contains, pinned.get(one.name.lower(), ())))]
    assert wrong == []


def test_the_lock_has_hashes_and_no_places() -> None:
    """Each version has the hashes of its files; where they come from is the index's business."""
    blocks = re.findall(r"^\S+==\S+(?: ; [^\\\n]+)? \\\n(?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+", LOCK, re.M)
    left = [line for line in LOCK.splitlines() if not any(line in block for block in blocks)]
    assert [line for line in left if not line.startswith("# ")] == []
    assert "://" not in LOCK


def test_the_image_is_made_of_the_lock() -> None:
    """Of the same section, and nothing is fetched beside it."""
    text = (BOOTSTRAP.parent / "Dockerfile").read_text("utf-8")
    installs = re.findall(r"pip install [^&]*", text.replace("\\\n", " "))
    assert ["--require-hashes" in one or "--no-index" in one for one in installs] == [True, True]
    assert "sed '/^# test$/,$d' requirements.lock > /tmp/run.lock" in text
