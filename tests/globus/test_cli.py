"""The real `globus` command against the stand-in: proof by a client that nobody here wrote."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.globus import Collection, Globus

PATIENCE = 30.0
"""Seconds after which a command that does not end counts as broken."""
Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def environment(globus: Globus, tmp_path: Path) -> dict[str, str]:
    """What the command finds: the service, and a home of its own."""
    home = tmp_path / "home"
    home.mkdir()
    keep = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT", "COVERAGE_PROCESS_START") if name in os.environ}
    return keep | {"HOME": str(home), "LOCALAPPDATA": str(home)} | globus.environment


@pytest.fixture
def command(globus: Globus, environment: dict[str, str]) -> Command:
    """Runs `globus` as the service account. What it prints and how it ends are for the test."""
    account = {"GLOBUS_CLI_CLIENT_ID": globus.account.id, "GLOBUS_CLI_CLIENT_SECRET": str(globus.account.secret)}

    def run(*words: object, says: str | None = None) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "globus_cli", *map(str, words)], env=environment | account, input=says,
            capture_output=True, text=True, check=False, timeout=PATIENCE,
        )  # fmt: skip

    return run


def answer(done: "subprocess.CompletedProcess[str]") -> Any:
    """What it printed as JSON, after it went well."""
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def test_a_transfer_of_a_file(globus: Globus, command: Command, source: Collection, destination: Collection) -> None:
    """globus transfer, task wait, task show and its evidence."""
    (source.base / "a").write_bytes(b"hello")
    task = answer(command("transfer", f"{source.id}:/a", f"{destination.id}:/in/a", "--label", "one", "-Fjson"))[
        "task_id"
    ]
    assert globus.work() == 1
    assert (destination.base / "in/a").read_bytes() == b"hello"
    waited = command("task", "wait", task, "--timeout", "5", "--polling-interval", "1")
    assert (waited.returncode, waited.stdout) == (0, "")
    shown = answer(command("task", "show", task, "-Fjson"))
    assert {key: shown[key] for key in ("label", "status", "files", "files_transferred", "bytes_transferred", "is_ok")} == {
        "label": "one", "status": "SUCCEEDED", "files": 1, "files_transferred": 1, "bytes_transferred": 5, "is_ok": None,
    }  # fmt: skip
    moved = answer(command("task", "show", task, "--successful-transfers", "-Fjson"))
    assert moved == {
        "DATA": [
            {
                "DATA_TYPE": "successful_transfer", "source_path": "/a", "destination_path": "/in/a", "size": 5,
                "checksum": "5d41402abc4b2a76b9719d911017c592", "checksum_algorithm": "MD5", "dynamic": False,
            }
        ]
    }  # fmt: skip


def test_a_batch_submitted_twice_is_one_task(
    globus: Globus, command: Command, source: Collection, destination: Collection
) -> None:
    """--batch with --submission-id: the second time is the first task's, and it moves all lines."""
    for name in ("a", "b c", "é"):
        (source.base / name).write_text(name)
    lines = '# three files\na a\n"b c" "deep/b c"\n--no-recursive é é\n'
    submission = command("task", "generate-submission-id").stdout.strip()
    batch = [
        "transfer",
        f"{source.id}:/",
        f"{destination.id}:/to/",
        "--batch",
        "-",
        "--submission-id",
        submission,
        "-Fjson",
    ]
    first, second = (answer(command(*batch, says=lines)) for _ in range(2))
    assert (first["code"], second["code"], second["task_id"]) == ("Accepted", "Duplicate", first["task_id"])
    assert list(globus.tasks.all) == [first["task_id"]]
    globus.work()
    found = {
        path.relative_to(destination.base).as_posix(): path.read_text()
        for path in destination.base.rglob("*")
        if path.is_file()
    }
    assert found == {"to/a": "a", "to/deep/b c": "b c", "to/é": "é"}


def test_a_missing_file_keeps_its_task_until_it_is_cancelled(
    globus: Globus, command: Command, source: Collection, destination: Collection
) -> None:
    """task list, event-list, cancel, wait: what a person does about a task that gets nowhere."""
    task = answer(command("transfer", f"{source.id}:/gone", f"{destination.id}:/gone", "-Fjson"))["task_id"]
    again = command("transfer", f"{source.id}:/gone", f"{destination.id}:/gone")
    assert again.returncode == 1
    assert "A transfer with identical paths has not yet completed" in again.stderr
    globus.work()
    listed = answer(command("task", "list", "--filter-status", "ACTIVE", "--filter-task-id", task, "-Fjson"))["DATA"]
    assert [(one["task_id"], one["nice_status"], one["is_ok"], one["faults"]) for one in listed] == [
        (task, "FILE_NOT_FOUND", False, 1)
    ]
    assert answer(command("task", "list", "--filter-label", "*", "--filter-status", "SUCCEEDED", "-Fjson")) == {
        "DATA": []
    }
    assert command("task", "cancel", task).stdout == "The task has been cancelled successfully.\n"
    events = answer(command("task", "event-list", task, "-Fjson"))["DATA"]
    assert [(one["code"], one["is_error"]) for one in events] == [
        ("CANCELED", True), ("FILE_NOT_FOUND", True), ("STARTED", False),
    ]  # fmt: skip
    assert command("task", "wait", task).returncode == 1
    assert command("task", "cancel", "--all").returncode == 1


def test_skipped_errors(globus: Globus, command: Command, source: Collection, destination: Collection) -> None:
    """--skip-source-errors lets a task succeed, and task show --skipped-errors names what it left out."""
    (source.base / "a").write_bytes(b"hello")
    lines = "a a\ngone gone\n"
    batch = ["transfer", f"{source.id}:/", f"{destination.id}:/", "--batch", "-", "--skip-source-errors", "-Fjson"]
    task = answer(command(*batch, says=lines))["task_id"]
    globus.work()
    assert command("task", "wait", task).returncode == 0
    skipped = answer(command("task", "show", task, "--skipped-errors", "-Fjson"))["DATA"]
    assert [(one["source_path"], one["error_code"]) for one in skipped] == [("/gone", "FILE_NOT_FOUND")]


def test_looking_around(globus: Globus, command: Command, source: Collection) -> None:
    """mkdir, ls with filters, rename, delete, endpoint search and show."""
    (source.base / "a.txt").write_text("text")
    assert command("mkdir", f"{source.id}:/runs").stdout == "The directory was created successfully\n"
    twice = command("mkdir", f"{source.id}:/runs")
    assert (twice.returncode, "ExternalError.MkdirFailed.Exists" in twice.stderr) == (1, True)
    assert command("ls", f"{source.id}:/").stdout == "a.txt\nruns/\n"
    assert command("ls", f"{source.id}:/", "--filter", "~*.TXT").stdout == "a.txt\n"
    missing = command("ls", f"{source.id}:/nowhere")
    assert (missing.returncode, "ClientError.NotFound" in missing.stderr) == (1, True)
    command("rename", source.id, "/a.txt", "/runs/b.txt")
    assert command("ls", f"{source.id}:/", "--recursive").stdout == "runs/\nruns/b.txt\n"
    found = answer(command("endpoint", "search", "instrum", "-Fjson"))["DATA"]
    assert [(one["id"], one["display_name"]) for one in found] == [(source.id, "Instrument")]
    assert answer(command("endpoint", "show", source.id, "-Fjson"))["owner_string"] == "ada@example.org"
    answer(command("delete", f"{source.id}:/runs", "--recursive", "-Fjson"))
    globus.work()
    assert command("ls", f"{source.id}:/").stdout == "\n"


def test_permissions(globus: Globus, command: Command, tmp_path: Path) -> None:
    """endpoint permission create, list and delete; the one it is for may look, then may not."""
    shared = globus.collection("Results", tmp_path / "shared", kind="GCP_guest_collection")
    (shared.base / "run1").mkdir()
    assert command("ls", f"{shared.id}:/run1/").returncode == 1
    who = globus.auth.directory.identities[globus.account.id].username
    grant = ["endpoint", "permission", "create", f"{shared.id}:/run1/", "--permissions", "r", "--identity", who]
    rule = answer(command(*grant, "-Fjson"))["access_id"]
    assert command("ls", f"{shared.id}:/run1/").returncode == 0
    assert command(*grant).returncode == 1
    listed = command("endpoint", "permission", "list", shared.id).stdout
    assert f"{rule} | r           | {who} | /run1/" in listed
    assert "deleted successfully" in command("endpoint", "permission", "delete", shared.id, rule).stdout
    assert command("ls", f"{shared.id}:/run1/").returncode == 1


def test_the_command_gets_a_consent_that_is_missing(globus: Globus, command: Command, tmp_path: Path) -> None:
    """A mapped collection needs data_access: after a 403 the command asks for it, and goes on."""
    mapped = globus.collection("Mapped", tmp_path / "mapped", kind="GCSv5_mapped_collection")
    assert command("ls", f"{mapped.id}:/").returncode == 0
    assert [one.status for one in globus.asked(path="*/ls")] == [403, 200]


def test_a_person_logs_in(globus: Globus, environment: dict[str, str], source: Collection) -> None:
    """globus login with the code from the browser, whoami, and a listing with the tokens it kept."""
    (source.base / "a").write_bytes(b"hello")
    globus_command = [sys.executable, "-m", "globus_cli"]
    with subprocess.Popen(
        [*globus_command, "login", "--no-local-server"], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as login:  # fmt: skip
        assert login.stdout is not None
        url = next(line.strip() for line in login.stdout if line.startswith("http"))
        out, _ = login.communicate(globus.code(url) + "\n", timeout=PATIENCE)
    assert login.returncode == 0, out
    for words, said in ((["whoami"], "ada@example.org\n"), (["ls", f"{source.id}:/"], "a\n")):
        done = subprocess.run([*globus_command, *words], env=environment, capture_output=True, text=True, check=False)
        assert (done.stdout, done.stderr) == (said, "")
