"""The steps of bootstrap.py as Windows takes them. Wine has no launcher for environments, so they are not run together there."""

import os
import sys
from pathlib import Path

import pytest

import bootstrap

LOCK = "a==1 \\\n    --hash=sha256:0\npip==26.0 \\\n    --hash=sha256:1\n# test\nb==2 \\\n    --hash=sha256:2\n"


def test_commands_are_where_the_system_has_them() -> None:
    """`.venv\\Scripts\\dropline.exe` is what a person starts on Windows."""
    home = Path("x/.venv")
    assert bootstrap.commands(home, windows=True) == (home / "Scripts/python.exe", home / "Scripts/dropline.exe")
    assert bootstrap.commands(home, windows=False) == (home / "bin/python", home / "bin/dropline")


def test_pip_is_configured_by_the_files_of_the_system() -> None:
    """Those of the computer first, then those of the person, which count more."""
    env = {"PROGRAMDATA": "/programs", "APPDATA": "/roaming", "HOME": "/home/ada"}
    assert bootstrap.pip_files(env, windows=True) == [Path("/programs/pip/pip.ini"), Path("/roaming/pip/pip.ini")]
    assert Path("/home/ada/.config/pip/pip.conf") in bootstrap.pip_files(env, windows=False)


def test_the_index_of_this_system_is_found(tmp_path: Path) -> None:
    """As pip finds it."""
    (tmp_path / "pip").mkdir()
    name = "pip.ini" if os.name == "nt" else "pip.conf"
    (tmp_path / "pip" / name).write_text("[global]\nindex-url = https://index.lab/simple\n")
    env = {name: str(tmp_path) for name in ("PROGRAMDATA", "APPDATA", "HOME", "XDG_CONFIG_HOME")}
    assert bootstrap.index_url(env) == "https://index.lab/simple"


def test_the_packages_come_before_dropline_which_needs_them_to_be_built(tmp_path: Path) -> None:
    """By the interpreter of the environment, with the locked pip, from a file that has the sections that are needed."""
    needed = tmp_path / "requirements.txt"
    needed.write_text(bootstrap.locked(LOCK, ""), "utf-8")
    python, _ = bootstrap.commands(tmp_path / ".venv", os.name == "nt")
    first, second = bootstrap.steps(python, tmp_path / "pip.whl", needed)
    assert [one[:4] for one in (first, second)] == [[str(python), "-I", str(tmp_path / "pip.whl/pip"), "install"]] * 2
    assert (first[-1], second[-2:]) == (str(needed), ["--editable", "."])
    assert "b==2" not in needed.read_text("utf-8")


@pytest.mark.skipif(sys.platform != "win32", reason="needs Windows")
def test_an_old_python_is_told_how_to_start_a_newer_one() -> None:
    """By the launcher of Windows."""
    assert bootstrap.too_old((3, 10, 0)).endswith("run py -3.11 bootstrap.py")


def test_an_environment_of_another_program_is_left_alone(tmp_path: Path) -> None:
    """Before anything is asked of the network."""
    root = tmp_path / "clone"
    (root / ".venv").mkdir(parents=True)
    (root / ".venv/pyvenv.cfg").write_text("prompt = 'other'\n")
    for name in ("requirements.lock", "pyproject.toml"):
        (root / name).write_text("")
    with pytest.raises(bootstrap.BootstrapError, match=r"was not made by bootstrap\.py and is left alone"):
        bootstrap.install(root, "", {})
