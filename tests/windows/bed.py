"""Makes a Python for Windows that runs under Wine: `.windows/` in the checkout, from the package index.

`python -m tests.windows.bed` makes it and prints the command that runs it. docs/decisions/0050-windows-under-wine.md says
where each part comes from, and what a run under Wine proves.
"""

import fcntl
import hashlib
import os
import select
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Final, NamedTuple

import bootstrap
from deploy.windows import build

ROOT: Final = Path(__file__).resolve().parents[2]
HOME: Final = ROOT / ".windows"
NEEDED: Final = ("wine", "x86_64-w64-mingw32-gcc")
"""Programs, from Debian's packages wine, wine64 and gcc-mingw-w64-x86-64."""
VERSION: Final = "".join(map(str, sys.version_info[:2]))
"""The running interpreter's: the standard library is taken from it, and its Windows DLL must be of the same version."""
RUNTIME: Final = {
    "311": "db071a53259fd8d3abedfc7d02030532eff02befe78515833767d3599034ba1a",
    "312": "74b32cbbcba689fb50ef20ce9578e48fdfedfad1fbf9f48e74db22a06b04be60",
    "313": "81da0be19890802980828dde4c59f920f7e49bb9e6ec02375c899cace8074baf",
}
"""sha256 of the wheel that carries Python's DLL and its extension modules, as python.org builds them, by version."""
_CC: Final = "x86_64-w64-mingw32-gcc"
_LAUNCHER: Final = rf"""
#include <windows.h>
typedef int (*Main)(int, wchar_t **);
int wmain(int argc, wchar_t **argv) {{
  HMODULE python = LoadLibraryW(L"python{VERSION}.dll");
  Main run = python ? (Main)(void *)GetProcAddress(python, "Py_Main") : 0;
  return run ? run(argc, argv) : 120;
}}
"""
_RANDOM: Final = r"""
#include <windows.h>
BOOLEAN WINAPI SystemFunction036(PVOID, ULONG);
__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE at, SIZE_T size) { return SystemFunction036(at, (ULONG)size); }
"""
"""Rust's standard library calls this, and Wine 8 has no such DLL."""
CACHE: Final = "PYTHONPYCACHEPREFIX"
"""The variable that names where bytecode is."""


class Bed(NamedTuple):
    """A Windows Python."""

    home: Path

    @property
    def environment(self) -> dict[str, str]:
        """For programs that run in it. Bytecode is kept apart from that of Linux, which has other paths in it."""
        return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYTEST"))} | {
            "WINEPREFIX": str(self.home / "prefix"),
            "WINEDEBUG": "-all",
            "WINEDLLOVERRIDES": "mscoree,mshtml=",
            CACHE: r"C:\pycache",
            "PYTHONUTF8": "1",
            "LC_ALL": "C.UTF-8",  # else Wine takes no name that is not ASCII
            "TMP": r"C:\tmp",
            "TEMP": r"C:\tmp",
        }

    def command(self, *arguments: str) -> list[str]:
        """A command line of its Python. Its standard input must be something: Python ends without one."""
        return ["wine", str(self.home / "py/python.exe"), *arguments]


def made() -> Bed:
    """The bed, made where it is missing or of another version of what it is made from. One process makes it, others wait."""
    with open(ROOT / ".windows.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _made()


def _made() -> Bed:
    lock = bootstrap.locked((ROOT / "requirements.lock").read_text("utf-8"), "test")
    facts = lock, Path(__file__).read_text("utf-8"), sys.version
    key = hashlib.sha256("\0".join(facts).encode()).hexdigest()
    bed, stamp = Bed(HOME), HOME / "stamp"
    if not stamp.exists() or stamp.read_text() != key:
        shutil.rmtree(HOME, ignore_errors=True)
        (HOME / "py/DLLs").mkdir(parents=True)
        with tempfile.TemporaryDirectory() as folder:
            _runtime(Path(folder), HOME / "py")
            _standard_library(HOME / "py/Lib")
            _packages(Path(folder), HOME / "py/Lib/site-packages", lock)
        _run("wineboot", "--init", env=bed.environment)
        # Wine hides names that begin with a dot. Windows does not.
        _run("wine", "reg", "add", r"HKCU\Software\Wine", "/v", "ShowDotFiles", "/d", "Y", "/f", env=bed.environment)
        # Services have the environment of the system.
        system = r"HKLM\System\CurrentControlSet\Control\Session Manager\Environment"
        _run("wine", "reg", "add", system, "/v", CACHE, "/d", bed.environment[CACHE], "/f", env=bed.environment)
        (HOME / "prefix/drive_c/tmp").mkdir()
        stamp.write_text(key)
    return bed


def run(*arguments: str, patience: float, directory: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run the Windows Python in a directory; what it prints is one text."""
    one = made()
    return finished(one.command(*arguments), one.environment, patience, directory)


def finished(
    command: list[str], environment: dict[str, str], patience: float, directory: Path = ROOT
) -> subprocess.CompletedProcess[str]:
    """Run a program in Wine to its end; what it prints is one text.

    The end of its pipe is not waited for: services that Wine starts with its first program inherit it, and end with the last.
    """
    printed, deadline = bytearray(), time.monotonic() + patience
    read, write = os.pipe()
    try:
        with subprocess.Popen(
            command, cwd=directory, env=environment, stdin=subprocess.DEVNULL, stdout=write, stderr=subprocess.STDOUT
        ) as process:
            while True:
                ended = process.poll() is not None
                if select.select([read], [], [], 0.0 if ended else 0.1)[0]:
                    printed += os.read(read, 1 << 16)
                elif ended:
                    break
                elif time.monotonic() > deadline:
                    process.kill()
                    raise subprocess.TimeoutExpired(command, patience, bytes(printed))
    finally:
        os.close(read)
        os.close(write)
    text = printed.decode("utf-8", "replace").replace("\r\n", "\n")
    return subprocess.CompletedProcess(command, process.returncode, text)


def _run(*command: str, env: dict[str, str] | None = None) -> str:
    """What it prints. Raises RuntimeError."""
    done = subprocess.run(command, check=False, env=env, text=True, stdin=subprocess.DEVNULL, capture_output=True)
    if done.returncode:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout


def _pip(*arguments: str) -> None:
    _run(sys.executable, "-I", "-m", "pip", "--quiet", "--no-input", "--disable-pip-version-check", *arguments)


def _wanted() -> list[str]:
    return [
        "--no-deps",
        "--require-hashes",
        "--only-binary=:all:",
        "--platform=win_amd64",
        f"--python-version={VERSION}",
        "--implementation=cp",
    ]


def _runtime(work: Path, home: Path) -> None:
    """Python's DLLs, a launcher, and the DLLs that they need and Wine has not."""
    needed = work / "runtime.txt"
    needed.write_text(f"panda3d==1.10.15 --hash=sha256:{RUNTIME[VERSION]}\n")
    _pip("download", *_wanted(), "--dest", str(work), "--requirement", str(needed))
    with zipfile.ZipFile(next(work.glob("panda3d-*.whl"))) as wheel:
        for entry in wheel.namelist():
            folder, _, file = entry.rpartition("/")
            if folder == "deploy_libs" and not file.startswith("api-ms-"):  # Wine has its own
                beside = file.lower().startswith(("python3", "vcruntime"))
                (home / file.lower() if beside else home / "DLLs" / file).write_bytes(wheel.read(entry))
    (work / "launcher.c").write_text(_LAUNCHER)
    (work / "random.c").write_text(_RANDOM)
    _run(_CC, "-municode", "-O2", "-o", str(home / "python.exe"), str(work / "launcher.c"))
    _run(_CC, "-shared", "-O2", "-o", str(home / "bcryptprimitives.dll"), str(work / "random.c"), "-ladvapi32")
    # The stable ABI, which some wheels want: each name is forwarded.
    table = _run("x86_64-w64-mingw32-objdump", "-p", str(home / f"python{VERSION}.dll")).split(
        "[Ordinal/Name Pointer] Table"
    )[1]
    names = [line.split()[-1] for line in table.partition("\n\n")[0].splitlines()[1:]]
    lines = "".join(f"  {name} = python{VERSION}.{name}\n" for name in names)
    (work / "python3.def").write_text(f"LIBRARY python3.dll\nEXPORTS\n{lines}")
    _run(_CC, "-shared", "-nostdlib", "-Wl,--entry=0", "-o", str(home / "python3.dll"), str(work / "python3.def"))


def _standard_library(target: Path) -> None:
    """What is written in Python of it is the same on every platform."""
    skip = shutil.ignore_patterns("site-packages", "dist-packages", "lib-dynload", "test", "__pycache__", "config-*")
    shutil.copytree(sysconfig.get_path("stdlib"), target, ignore=skip)


def _packages(work: Path, target: Path, lock: str) -> None:
    """The locked packages that Windows needs."""
    needed = work / "requirements.txt"
    needed.write_text(build.needed(lock))
    _pip("install", *_wanted(), "--target", str(target), "--requirement", str(needed))
    (target / "dropline.pth").write_text("Z:" + str(ROOT).replace("/", "\\") + "\n")
    for one in Path(sysconfig.get_path("purelib")).glob("dropline-*.dist-info"):
        shutil.copytree(one, target / one.name)  # its version is asked for


if __name__ == "__main__":
    bed = made()
    print(f"WINEPREFIX={bed.home / 'prefix'} WINEDEBUG=-all {' '.join(bed.command('-X', 'utf8', '...'))} </dev/null")
