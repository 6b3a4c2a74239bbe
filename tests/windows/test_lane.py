"""Suites of the other folders, inside the Windows Python under Wine. Without Wine they are skipped, by name.

They are the same tests with the same assertions. What Windows or Wine has not is skipped there, and docs/WINDOWS.md lists it.
"""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.programs import program
from tests.windows import bed

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="runs Wine, on Linux")
PATIENCE = 600.0
"""Seconds after which a suite counts as hanging."""
AFAR = " or ".join(["arrive", "missing_source", "writer", "replaces", "comes_back", "not_set_up", "true_copy"])
"""A sample of what is the same for destinations that may hang: a worker process starts slowly under Wine."""
JOURNEYS = {
    "deliveries": {
        "delivery": [
            "a_dropped_file_is_proved_at_the_share_and_a_second_run_changes_nothing",
            "a_file_that_is_still_open_stays_whatever_its_mtime_says",
            "another_measurement_under_the_name_keeps_the_former_one[second]",
            "a_new_file_under_a_reclaimed_name_gets_a_name_of_its_own",
            "foreign_content_is_refused_and_untouched_until_a_person_acts",
            "what_is_at_the_share_already_is_adopted",
        ],
        "reclaim": [
            "what_is_proved_goes_and_the_record_says_so",
            "a_file_that_somebody_opened_for_writing_stays",
            "the_trash_is_purged_after_its_window",
        ],
    },
    "commands": {
        "cli": ["wait_ends_with_the_proof_the_refusal_or_the_time"],
        "fetch": ["what_is_there_comes_whole_and_once[directory]"],
        "running": [
            "a_bad_edit_keeps_the_old_rules_and_a_good_one_takes_effect",
            "a_running_agent_obeys_a_pause",
        ],
        "send": ["files_and_folders_go_under_their_own_names_and_stay"],
    },
}
"""A sample of the journeys: each command starts slowly under Wine."""
SUITES = {
    "rules": ["tests/rules", "tests/agent/test_windows_facts.py"],
    "only there": [
        "tests/windows/test_access.py",
        "tests/windows/test_globus.py",
        "tests/windows/test_names.py",
        "tests/windows/test_on_windows.py",
        "tests/windows/test_presets.py",
        "tests/windows/test_process.py",
        "tests/windows/test_watcher.py",
        "tests/windows/test_writers.py",
    ],
    "destinations": ["tests/contract/test_transport.py", "-k", f"not globus and (not afar or {AFAR})"],
    "services": ["tests/windows/test_service.py"],
    "bootstrap": ["tests/windows/test_bootstrap_steps.py", "tests/agent/test_windows_access.py"],
    "globus": ["tests/globus/test_tasks.py"],
    "files": ["tests/contract/files", "-k", "here"],
    "the journeys that are Windows' own": ["tests/windows/test_journey.py"],
    "kills": ["tests/windows/test_kills.py"],
} | {
    f"journeys: {name}": [
        f"tests/journey/test_{file}.py::test_{test}" for file, tests in some.items() for test in tests
    ]
    for name, some in JOURNEYS.items()
}
"""What is run there."""
DROPLINE = ["-P", "-c", "from agent.cli import main; main()"]


@pytest.fixture(autouse=True, scope="module")
def wine() -> Iterator[None]:
    """Skips where there is no Wine. A program that waits keeps Wine running: its start takes seconds."""
    for name in bed.NEEDED:
        program(name)
    if bed.VERSION not in bed.RUNTIME:
        pytest.skip(f"no Windows DLL is known for Python {bed.VERSION}")
    one = bed.made()
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(one.command("-c", "input()"), env=one.environment, **pipes) as waiting:
        yield
        waiting.communicate()


@pytest.mark.parametrize("suite", SUITES)
def test_the_suite_passes_in_the_windows_python(suite: str) -> None:
    """Each test of it passes there, or is skipped there by name."""
    options = ["-n0", "-q", "-rs", "--tb=short", "-p", "no:cacheprovider"]
    done = bed.run("-m", "pytest", *options, *SUITES[suite], patience=PATIENCE)
    assert done.returncode == 0, done.stdout[-8000:]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder on the drive C: of Windows."""
    path = bed.made().home / "prefix/drive_c/tmp/dropline"
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir()
    yield path
    shutil.rmtree(path)


def test_the_first_command_delivers(folder: Path) -> None:
    """The command that a person types first delivers what is there, and the commands that report know it."""
    (folder / "inbox/run 1").mkdir(parents=True)
    (folder / "inbox/run 1/scan.raw").write_bytes(b"a scan")
    done = bed.run(
        *DROPLINE, "run", "--once", "--watch", r".\inbox", "--to", r".\share", patience=PATIENCE, directory=folder
    )
    assert done.returncode == 0, done.stdout
    assert (folder / "share/run 1/scan.raw").read_bytes() == b"a scan"
    explained = bed.run(*DROPLINE, "explain", r"inbox\run 1\scan.raw", patience=PATIENCE, directory=folder)
    assert "verified" in explained.stdout, explained.stdout
