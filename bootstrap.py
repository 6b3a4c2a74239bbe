#!/usr/bin/env python3
"""Make .venv beside this file and install Dropline into it: python3 bootstrap.py [test | dev | bench]

Needs Python 3.11 or newer and a package index, nothing else: no root, no pip, no ensurepip. On Windows it is
`py bootstrap.py`. `test` adds what the tests need, `dev` adds that and the linters, `bench` that and what draws plots. The
install is editable, so a later `git pull` takes effect; run this again after it, in case the dependencies changed. When
.venv is already current, nothing is done.

Everything that is installed, pip first, comes as a wheel from PIP_INDEX_URL, or pip.conf's index-url, or PyPI, and has a
sha256 that requirements.lock knows: no index can slip in anything else. The stamp in .venv is written last: a .venv
without a valid one is made again.
"""

# This file must parse on Python 3.7, to be able to say that 3.7 is too old. And most imports are where they are used:
# together they take longer than a run that has nothing to do.
from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

EXTRAS = ("", "test", "dev", "bench")  # each contains the one before
OURS = "prompt = 'dropline'"  # venv.create writes this to pyvenv.cfg, so a .venv with it is ours to delete


class BootstrapError(Exception):
    """An expected failure: the message names the thing, the cause and the next step."""


def too_old(version: tuple[int, ...]) -> str:
    """The one line to say to a Python of this version, empty when it will do."""
    found = ".".join(map(str, version[:3]))
    newer = "py -3.11 bootstrap.py" if os.name == "nt" else "bootstrap.py with a newer python3"
    line = f"Dropline needs Python 3.11 or newer and this is Python {found}: run {newer}"
    return "" if version >= (3, 11) else line


def pip_files(env: dict[str, str], windows: bool) -> list[Path]:
    """pip's configuration files on this system; a later one counts more."""
    home = Path(env.get("HOME") or os.path.expanduser("~"))
    if windows:
        folders = (Path(env.get(name) or home) for name in ("PROGRAMDATA", "APPDATA"))
        return [folder / "pip/pip.ini" for folder in folders]
    user = Path(env.get("XDG_CONFIG_HOME") or home / ".config")
    return [Path("/etc/pip.conf"), home / ".pip/pip.conf", user / "pip/pip.conf"]


def index_url(env: dict[str, str]) -> str:
    """The package index that pip would use: PIP_INDEX_URL, else what pip's configuration files say, else PyPI."""
    import configparser

    chosen = env.get("PIP_CONFIG_FILE", "")
    config = configparser.RawConfigParser()
    try:
        if chosen != os.devnull:  # pip's way to say: none of these files
            config.read([*pip_files(env, os.name == "nt"), chosen])
    except (configparser.Error, UnicodeDecodeError) as error:
        cause = " ".join(str(error).split())
        raise BootstrapError(f"cannot read pip's configuration: {cause}. Correct that file and try again") from error
    configured = config.get("install", "index-url", fallback="") or config.get("global", "index-url", fallback="")
    return env.get("PIP_INDEX_URL") or configured or "https://pypi.org/simple"


def get(url: str) -> bytes:
    """What is at this address. A user and password in it go to that host only, and never into a message."""
    import base64
    import http.client
    import ssl
    import urllib.error
    import urllib.parse
    import urllib.request

    parts = urllib.parse.urlsplit(url)
    login, _, host = parts.netloc.rpartition("@")
    clean = parts._replace(netloc=host).geturl()
    headers = {"Accept": "application/vnd.pypi.simple.v1+json, */*;q=0.1", "User-Agent": "dropline-bootstrap"}
    try:
        request = urllib.request.Request(clean, headers=headers)
        if login:
            token = base64.b64encode(urllib.parse.unquote(login).encode()).decode()
            request.add_unredirected_header("Authorization", f"Basic {token}")
        with urllib.request.urlopen(request, timeout=60) as response:
            return bytes(response.read())
    except urllib.error.HTTPError as error:
        error.close()
        cause, step = f"it answered {error.code} {error.reason}", "Check PIP_INDEX_URL and the proxy"
    except (OSError, ValueError, http.client.HTTPException) as error:
        cause, step = str(getattr(error, "reason", "") or error), "Check the network, the proxy and PIP_INDEX_URL"
        if isinstance(getattr(error, "reason", error), ssl.SSLCertVerificationError):
            step = "Install the system's CA certificates (Debian: ca-certificates), or name a CA file in SSL_CERT_FILE,"
    raise BootstrapError(f"cannot get {clean}: {cause}. {step} and try again")


def locked(lock: str, extra: str) -> str:
    """The part of requirements.lock that this extra needs: the sections up to its own."""
    later = EXTRAS[EXTRAS.index(extra) + 1 :]
    lines = lock.splitlines(keepends=True)
    end = next(
        (number for number, line in enumerate(lines) if line.rstrip("\n") in [f"# {one}" for one in later]), None
    )
    return "".join(lines[:end])


def fetch_pip(index: str, lock: str, folder: Path) -> Path:
    """The wheel of pip that the lock has, put into the folder once its sha256 has proved right."""
    import json
    import re
    from urllib.parse import urljoin

    page = index.rstrip("/") + "/pip/"
    where = f"the package index {page.rpartition('@')[2]}"
    other = "set PIP_INDEX_URL to another one, such as https://pypi.org/simple, and try again"
    block = re.search(r"^pip==(\S+).*\n(?:    --hash=.*\n)+", lock, re.M)
    if block is None:
        raise BootstrapError("requirements.lock has no pip: get that file as it came with this version")
    known = set(re.findall(r"sha256:([0-9a-f]{64})", block[0]))
    try:
        files = [
            (str(file["filename"]), str(file["url"]))
            for file in json.loads(get(page))["files"]
            if file["filename"] == f"pip-{block[1]}-py3-none-any.whl"
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BootstrapError(f"{where} gives no JSON listing (PEP 691): {error!r}. Please {other}") from error
    if not files:
        raise BootstrapError(f"{where} has no pip {block[1]}, which requirements.lock wants. Please {other}")
    filename, url = files[0]
    content = get(urljoin(page, url))
    actual = hashlib.sha256(content).hexdigest()
    if actual not in known:
        cause = f"its sha256 is {actual}, which requirements.lock does not know"
        raise BootstrapError(f"refused {filename}, nothing was installed: {cause}. Check the proxy, or {other}")
    path = folder / filename
    path.write_bytes(content)
    return path


def commands(home: Path, windows: bool) -> tuple[Path, Path]:
    """The interpreter and the `dropline` command of an environment."""
    if windows:
        return home / "Scripts/python.exe", home / "Scripts/dropline.exe"
    return home / "bin/python", home / "bin/dropline"


def steps(python: Path, pip: Path, needed: Path) -> list[list[str]]:
    """The command lines that fill an environment: the locked packages, then Dropline, which is built with them."""
    # -I, because what is on PYTHONPATH must not count as installed
    quiet = ["--quiet", "--no-input", "--disable-pip-version-check"]
    command = [str(python), "-I", str(pip / "pip"), "install", *quiet]
    return [
        [*command, "--require-hashes", "--only-binary=:all:", "--requirement", str(needed)],
        [*command, "--no-index", "--no-deps", "--no-build-isolation", "--editable", "."],
    ]


def install(root: Path, extra: str, env: dict[str, str]) -> str:
    """Bring root/.venv up to date with at least this extra; what there is to say about it."""
    home = root / ".venv"
    python, command = commands(home, os.name == "nt")
    stamp, cfg = home / "bootstrap-stamp", home / "pyvenv.cfg"
    lock = (root / "requirements.lock").read_text("utf-8")
    facts = (root / "pyproject.toml").read_bytes(), lock.encode(), str(sys.version_info[:2]).encode(), os.fsencode(root)
    key = hashlib.sha256(b"\0".join(facts)).hexdigest()
    old_key, _, had = stamp.read_text("utf-8", "replace").partition(" ") if stamp.exists() else ("", "", "")
    had = had if had in EXTRAS else ""
    valid = old_key == key and python.exists()
    if valid and EXTRAS.index(had) >= EXTRAS.index(extra):
        return f"{home} is current, nothing to do"

    import subprocess
    import tempfile
    import venv

    foreign = cfg.exists() and OURS not in cfg.read_text("utf-8", "replace")
    if foreign or home.is_symlink() or home.is_file():
        raise BootstrapError(f"{home} was not made by bootstrap.py and is left alone. Move it away and try again")
    extra = max(extra, had, key=EXTRAS.index)
    what = f".[{extra}]" if extra else "."
    with tempfile.TemporaryDirectory(prefix="dropline-bootstrap-") as folder:
        # First: without a network, an old .venv stays as it was.
        pip = fetch_pip(index_url(env), lock, Path(folder))
        print(f"bootstrap: installing {what} into {home} with {pip.name}, this takes a minute", flush=True)
        stamp.unlink(missing_ok=True)
        if not valid:
            venv.create(home, clear=True, symlinks=os.name != "nt", prompt="dropline")
        needed = Path(folder, "requirements.txt")
        needed.write_text(locked(lock, extra), "utf-8")
        status = 0
        for step in steps(python, pip, needed):
            status = status or subprocess.run(step, cwd=root, env=env, check=False).returncode
    if status:
        raise BootstrapError(f"pip could not install {what} (exit {status}): mend what it says above and try again")
    stamp.write_text(f"{key} {extra}", "utf-8")
    return f"{home} is ready, start with {command}"


def main(argv: list[str], root: Path, env: dict[str, str]) -> int:
    """Run this command line; the exit status is 0 for done, 1 for failed, 2 for not understood."""
    problem, status = too_old(sys.version_info[:3]), 1
    try:
        if not problem and argv in (["-h"], ["--help"]):
            print(__doc__)
        elif not problem and " ".join(argv) not in EXTRAS:
            problem, status = f"{' '.join(argv)!r} is not understood: give nothing, or test, dev or bench", 2
        elif not problem:
            print("bootstrap:", install(root, "".join(argv), env))
    except BootstrapError as error:
        problem = str(error)
    except (OSError, ValueError) as error:  # a full disk, a folder that is not writable, a path no venv can be in
        problem = f"cannot make {root / '.venv'}: {error}. Mend that and try again"
    except KeyboardInterrupt:
        problem = "interrupted, the next run starts over"
    if problem:
        print(f"bootstrap: {problem}", file=sys.stderr)
    return status if problem else 0


if __name__ == "__main__":
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # a Windows console has not every letter of a path
    sys.exit(main(sys.argv[1:], Path(__file__).resolve().parent, dict(os.environ)))
