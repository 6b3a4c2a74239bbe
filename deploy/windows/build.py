#!/usr/bin/env python3
"""Make Dropline for Windows, on Linux: .venv/bin/python deploy/windows/build.py --python ZIP --sha256 HEX [--output DIR]

ZIP is python.org's "Windows embeddable package (64-bit)", HEX its sha256 as python.org has it. Around it come the wheels of
requirements.lock and Dropline itself. DIR (default: dist) gets a zip to unpack anywhere, and, where Debian's `nsis` is
installed, a setup.exe. Nothing is signed.

The running Python must be of the same version as the one in ZIP (3.11 and 3.11): it compiles what is installed. Needs
`python3 bootstrap.py test`, the package index, and no Windows.
"""

import argparse
import compileall
import hashlib
import io
import py_compile
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT)]

import bootstrap  # noqa: E402  (found in the root)

AS_WINDOWS = {
    "sys_platform": "win32",
    "platform_system": "Windows",
    "os_name": "nt",
    "platform_machine": "AMD64",
}
"""What the markers of requirements.lock are evaluated with: pip would evaluate them as of this system."""
LAUNCHED = b"#!<launcher_dir>\\python\\python.exe -P -X utf8\r\n"
START = "from agent.cli import main\nmain()\n"
EARLIEST = (1980, 1, 1, 0, 0, 0)  # of a file in a zip: two builds of one version are the same


class BuildError(Exception):
    """An expected failure: the message names the thing, the cause and the next step."""


def checked(path: Path, sha256: str) -> zipfile.ZipFile:
    """The embeddable Python, if it is the one that is meant. Raises BuildError."""
    actual = hashlib.sha256(path.read_bytes()).hexdigest()
    if actual != sha256.lower():
        raise BuildError(f"the sha256 of {path} is {actual}, not {sha256}: get it from python.org once more")
    return zipfile.ZipFile(path)


def unpack(python: zipfile.ZipFile, home: Path) -> str:
    """Unpack it, let it import from ..\\lib and from nowhere else. Returns its version, such as 311. Raises BuildError."""
    python.extractall(home)
    paths = list(home.glob("python*._pth"))
    found = re.fullmatch(r"python(\d+)\._pth", paths[0].name) if len(paths) == 1 else None
    if found is None:
        raise BuildError("the zip has no python*._pth: take the embeddable package of python.org")
    if found[1] != "".join(map(str, sys.version_info[:2])):
        raise BuildError(f"the zip has Python {found[1]}, and this is {sys.version.split()[0]}: use the same version")
    lines = [line for line in paths[0].read_text("utf-8").splitlines() if line and not line.startswith(("#", "import"))]
    paths[0].write_text("\n".join([*lines, "..\\lib", ""]), "utf-8")
    return found[1]


def needed(lock: str) -> str:
    """The requirements of a part of requirements.lock that Windows needs, with their hashes."""
    from packaging.markers import Marker

    lines = []
    for block in lock.replace(" \\\n", "\0").splitlines():
        requirement, *hashes = block.split("\0")
        name, _, marker = requirement.partition(" ; ")
        if "==" in name and (not marker or Marker(marker).evaluate(AS_WINDOWS)):
            lines.append(" ".join([name, *map(str.strip, hashes)]))
    return "".join(f"{line}\n" for line in lines)


def pip(*arguments: str) -> None:
    """Run the pip of this environment. Raises BuildError."""
    words = [sys.executable, "-I", "-m", "pip", "--quiet", "--no-input", "--disable-pip-version-check", *arguments]
    done = subprocess.run(words, check=False, text=True, stdin=subprocess.DEVNULL, capture_output=True)
    if done.returncode:
        raise BuildError(f"pip could not install what is needed: {done.stderr[-2000:]}")


def install(version: str, lib: Path) -> None:
    """The locked wheels for Windows, and Dropline. Raises BuildError."""
    windows = ["--platform=win_amd64", f"--python-version={version}", "--implementation=cp"]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "requirements.txt")
        file.write_text(needed(bootstrap.locked((ROOT / "requirements.lock").read_text("utf-8"), "")))
        wheels = ["--no-deps", "--require-hashes", "--only-binary=:all:", *windows]
        pip("install", "--target", str(lib), *wheels, "--requirement", str(file))
        pip("wheel", "--wheel-dir", folder, "--no-deps", "--no-index", "--no-build-isolation", str(ROOT))
        for wheel in Path(folder).glob("dropline-*.whl"):
            zipfile.ZipFile(wheel).extractall(lib)
    shutil.rmtree(lib / "bin", ignore_errors=True)  # commands for Linux
    # A folder below Program Files takes no bytecode of the persons who start it.
    compiled = compileall.compile_dir(
        lib, quiet=2, stripdir=str(lib), invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH
    )
    if not compiled:
        print(f"build: not all of {lib} could be compiled", file=sys.stderr)


def launcher() -> bytes:
    """dropline.exe: pip's own launcher, with the interpreter beside it, and what it is to run."""
    import pip._vendor.distlib as distlib

    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as target:
        target.writestr(zipfile.ZipInfo("__main__.py", EARLIEST), START)
    return Path(distlib.__path__[0], "t64.exe").read_bytes() + LAUNCHED + archive.getvalue()


def pack(tree: Path, target: Path, folder: str) -> None:
    """A zip with one folder in it."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(one for one in tree.rglob("*") if one.is_file()):
            info = zipfile.ZipInfo(f"{folder}/{path.relative_to(tree).as_posix()}", EARLIEST)
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, path.read_bytes())


def setup(tree: Path, target: Path, version: str) -> None:
    """The installer. Raises BuildError."""
    defined = [f"-DVERSION={version}", f"-DSOURCE={tree}", f"-DTARGET={target}"]
    words = ["makensis", "-V2", "-WX", *defined, str(Path(__file__).with_name("setup.nsi"))]
    done = subprocess.run(words, check=False, text=True, stdin=subprocess.DEVNULL, capture_output=True)
    if done.returncode:
        raise BuildError(f"makensis ended with {done.returncode}: {(done.stdout + done.stderr)[-2000:]}")


def build(python: Path, sha256: str, output: Path) -> list[Path]:
    """Make all. Returns what was made. Raises BuildError."""
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder, "dropline")
        version = unpack(checked(python, sha256), tree / "python")
        install(version, tree / "lib")
        (tree / "dropline.exe").write_bytes(launcher())
        shutil.copy(ROOT / "LICENSE", tree / "LICENSE.txt")
        own = next(one.name.split("-")[1] for one in (tree / "lib").glob("dropline-*")).removesuffix(".dist")
        name = f"dropline-{own}-win_amd64"
        made = [output / f"{name}.zip"]
        pack(tree, made[0], name)
        if shutil.which("makensis"):
            made.append(output / f"{name}-setup.exe")
            setup(tree, made[1].resolve(), own)
        else:
            print("build: no makensis (Debian: nsis), so there is no setup.exe", file=sys.stderr)
    return made


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", type=Path, required=True)
    parser.add_argument("--sha256", required=True)
    parser.add_argument("--output", type=Path, default=Path("dist"))
    given = parser.parse_args()
    try:
        for path in build(given.python, given.sha256, given.output):
            print(f"build: made {path}, sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}")
    except (BuildError, OSError, zipfile.BadZipFile) as error:
        print(f"build: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
