"""Starting fast: a command imports what it uses. What is imported says so on every computer, time does not."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
DEPENDENCIES = {
    re.split(r"\W", one.replace("-", "_"))[0]
    for one in tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]
}
CODE = """
import sys
from agent.cli import main
try:
    main()
finally:
    print(*sys.modules, file=sys.stderr)
"""
CONFIG = """
[agent]
state_dir = "state"
listen = ""
[destinations.share]
path = "share"
[[rules]]
name = "r"
watch = "inbox"
include = ["**/*.h5"]
deliver = [{ to = "share" }]
"""


def imported(folder: Path, *words: str) -> set[str]:
    """The modules that a command imports, by its own interpreter."""
    for name in ("share", "inbox"):
        (folder / name).mkdir(exist_ok=True)
    (folder / "inbox/scan.h5").write_bytes(b"scan")
    (folder / "dropline.toml").write_text(CONFIG, "utf-8")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DROPLINE_")}
    done = subprocess.run(
        [sys.executable, "-P", "-c", CODE, *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return set(done.stderr.splitlines()[-1].split())


def dependencies(modules: set[str]) -> set[str]:
    """The packages of others among them that are dependencies."""
    return DEPENDENCIES & modules


def rooms(modules: set[str]) -> set[str]:
    """The folders of agent/ among them."""
    return {one.split(".")[1] for one in modules if one.startswith("agent.")}


def test_the_version_is_printed_without_what_the_agent_uses(tmp_path: Path) -> None:
    """Typer, the names of the commands and the errors are enough."""
    modules = imported(tmp_path, "--version")
    assert dependencies(modules) == {"typer"}
    assert rooms(modules) == {"cli", "errors"}


def test_status_imports_what_it_reads_with(tmp_path: Path) -> None:
    """The configuration and the ledger: nothing that delivers, serves pages or exposes metrics."""
    imported(tmp_path, "run", "--once")
    modules = imported(tmp_path, "status")
    assert dependencies(modules) == {"cronsim", "pathspec", "pydantic", "typer"}
    assert rooms(modules) == {"app", "cli", "errors", "files", "host", "ledger", "observe"}
    assert not {"asyncio", "logging.config", "smtplib", "urllib.request", "rules.config.preset"} & modules


def test_an_agent_imports_what_its_configuration_asks_for(tmp_path: Path) -> None:
    """No Globus, no mail and no page where there is none: it would cost memory for as long as the agent runs."""
    modules = imported(tmp_path, "run", "--once")
    assert dependencies(modules) == {"blake3", "cronsim", "pathspec", "prometheus_client", "pydantic", "typer"}
    assert not {"agent.actions.notify.email", "agent.observe.web"} & modules


def test_a_worker_process_imports_no_configuration() -> None:
    """There may be many of them."""
    code = "import sys, agent.destinations.directory.worker; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    modules = set(done.stdout.split())
    assert dependencies(modules) == {"blake3"}
    assert not {"rules.rule", "rules.actions", "rules.match"} & modules
