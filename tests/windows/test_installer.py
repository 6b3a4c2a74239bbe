"""What deploy/windows/build.py makes, installed under Wine around a stand-in for python.org's embeddable package."""

import hashlib
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest

from deploy.windows import build
from tests.programs import program
from tests.windows import bed

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="made on Linux, run in Wine")
PATIENCE = 300.0
"""Seconds."""
UNUSED = ("site-packages", "idlelib", "tkinter", "ensurepip", "lib2to3", "turtledemo", "__pycache__")


class Built(NamedTuple):
    """The results of a build, and its Python."""

    python: Path
    made: list[Path]


def embeddable(target: Path) -> str:
    """Pack the test bed's Python as python.org packs its own. Returns the sha256."""
    home = bed.made().home / "py"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(home.rglob("*")):
            relative = path.relative_to(home)
            if path.is_file() and not set(UNUSED) & set(relative.parts):
                archive.write(path, relative)
        archive.writestr(f"python{bed.VERSION}._pth", "Lib\nDLLs\n.\n#import site\n")
    return hashlib.sha256(target.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """One build for all tests."""
    for name in (*bed.NEEDED, "makensis"):
        program(name)
    if bed.VERSION not in bed.RUNTIME:
        pytest.skip(f"no Windows DLL is known for Python {bed.VERSION}")
    folder = tmp_path_factory.mktemp("build")
    python = folder / "python.zip"
    sha256 = embeddable(python)
    return Built(python, build.build(python, sha256, folder / "dist"))


def wine(*command: str, directory: Path | None = None) -> "subprocess.CompletedProcess[str]":
    """Run a program of Windows."""
    return bed.finished(["wine", *command], bed.made().environment, PATIENCE, directory or bed.ROOT)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder on the drive C: of Windows, with a configuration."""
    path = bed.made().home / "prefix/drive_c/tmp/installed"
    shutil.rmtree(path, ignore_errors=True)
    for name in ("inbox", "share"):
        (path / name).mkdir(parents=True)
    (path / "inbox/scan.raw").write_bytes(b"a scan")
    here = r"C:\tmp\installed"
    (path / "dropline.toml").write_text(
        f"[agent]\nstate_dir = '{here}\\state'\nlisten = ''\n[destinations.share]\npath = '{here}\\share'\n"
        f"[[rules]]\nname = 'r'\nwatch = '{here}\\inbox'\ncomplete = {{ quiet = '0s' }}\ndeliver = [{{ to = 'share' }}]\n"
    )
    yield path
    shutil.rmtree(path)


def test_the_setup_installs_a_service_that_delivers_and_the_uninstaller_leaves_the_state(
    built: Built, folder: Path
) -> None:
    """Without a window: the agent runs as a service afterwards, its command works, and both go again."""
    config = r"C:\tmp\installed\dropline.toml"
    done = wine(str(built.made[1]), "/S", f"/SERVICE={config}", "/ACCOUNT=LocalSystem", r"/D=C:\tmp\installed\program")
    assert done.returncode == 0, done.stdout
    installed = folder / "program"
    assert {path.name for path in installed.iterdir()} == {
        "LICENSE.txt",
        "dropline.exe",
        "lib",
        "python",
        "uninstall.exe",
    }
    command = str(installed / "dropline.exe")
    waited = wine(command, "wait", r"C:\tmp\installed\inbox\scan.raw", "--timeout", "60s", "--config", config)
    assert waited.returncode == 0, waited.stdout
    assert (folder / "share/scan.raw").read_bytes() == b"a scan"
    status = partial(wine, command, "service", "status", "--config", config)
    deadline = time.monotonic() + PATIENCE
    while (running := status()).returncode != 0 and time.monotonic() < deadline:
        pass  # the agent works before it has told the manager that it is ready
    assert running.returncode == 0, running.stdout
    # `_?=` keeps NSIS's uninstaller from copying itself and returning at once.
    assert wine(str(installed / "uninstall.exe"), "/S", r"_?=C:\tmp\installed\program").returncode == 0
    assert not installed.exists() or not [path for path in installed.iterdir() if path.name != "uninstall.exe"]
    assert (folder / "state/ledger.sqlite").exists()
    gone = bed.run(
        "-P", "-c", "from agent.cli import main; main()", "service", "status", patience=PATIENCE, directory=folder
    )
    assert "dropline is not installed" in gone.stdout, gone.stdout


def test_what_is_unpacked_runs(built: Built, folder: Path) -> None:
    """The zip needs no installation."""
    with zipfile.ZipFile(built.made[0]) as archive:
        archive.extractall(folder)
    command = next(folder.glob("dropline-*/dropline.exe"))
    done = wine(str(command), "run", "--once", "--watch", r".\inbox", "--to", r".\to", directory=folder)
    assert done.returncode == 0, done.stdout
    assert (folder / "to/scan.raw").read_bytes() == b"a scan"


def test_nothing_is_shipped_but_the_given_python_the_locked_wheels_and_dropline(built: Built) -> None:
    """So nothing of the test bed comes along, unless it is in the zip that is given."""
    with zipfile.ZipFile(built.python) as python, zipfile.ZipFile(built.made[0]) as shipped:
        given = {f"python/{name}" for name in python.namelist()}
        names = {name.partition("/")[2] for name in shipped.namelist()}
    rest = names - given
    assert given <= names
    assert {name for name in rest if not name.startswith("lib/")} == {"LICENSE.txt", "dropline.exe"}
    lock = {line.partition("==")[0].lower().replace("-", "_") for line in build.needed(_lock()).splitlines()}
    found = {name.split("/")[1].split("-")[0].lower().replace("-", "_") for name in rest if ".dist-info/" in name}
    assert found == lock | {"dropline"}


def _lock() -> str:
    import bootstrap

    return bootstrap.locked((build.ROOT / "requirements.lock").read_text("utf-8"), "")


def test_another_python_than_the_one_that_is_meant_is_refused(tmp_path: Path) -> None:
    """By its sha256, before anything is made."""
    path = tmp_path / "python.zip"
    path.write_bytes(b"other")
    with pytest.raises(build.BuildError, match=r"the sha256 of .*python\.zip is d9298a10d1b07358"):
        build.build(path, "0" * 64, tmp_path)
