"""Write requirements.lock: `.venv/bin/python .ci/lock.py`, after `python3 bootstrap.py dev`.

Each package that anything here needs has one version, with the sha256 of its files, for every Python and system that is
supported. What runs the agent comes first, with pip and what builds; then what each extra adds. A version that is locked
stays, where it still fits; `--upgrade` takes the newest of all.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.lock"
HEAD = "# Made by .ci/lock.py, which says how; docs/decisions/0002-dependencies.md says why.\n"
BUILD = "pip\nhatchling\neditables\n"
"""What bootstrap.py and the image install with."""


def compiled(extra: str, *words: str) -> dict[str, str]:
    """What pyproject.toml needs with an extra ("": none): the line of each package with its marker → its lines."""
    command = [
        sys.executable,
        "-m",
        "uv",
        "pip",
        "compile",
        "--universal",
        "--python-version=3.11",
        "--generate-hashes",
    ]
    command += ["--no-header", "--no-annotate", "--no-emit-index-url", *words, *([f"--extra={extra}"] if extra else [])]
    done = subprocess.run(
        [*command, "pyproject.toml", "-"], cwd=ROOT, input=BUILD, text=True, check=True, stdout=subprocess.PIPE
    )
    return {
        found[0]: found[0] + found[1] for found in re.findall(r"^(\S+==.*\n)((?:    --hash=.*\n)+)", done.stdout, re.M)
    }


def sections(*words: str) -> str:
    """The file: a section for each extra, of the packages that those before have not."""
    with tempfile.TemporaryDirectory() as folder:
        pins = Path(folder, LOCK.name)
        if LOCK.exists():
            pins.write_bytes(LOCK.read_bytes())  # what uv prefers
        everything = compiled("dev", f"--output-file={pins}", *words)
        needed = {extra: compiled(extra, f"--constraint={pins}") for extra in ("", "test")} | {"dev": everything}
    text, done = HEAD, set[str]()
    for extra, wanted in needed.items():
        names = {_name(line) for line in wanted} - done
        text += f"# {extra}\n" if extra else ""
        text += "".join(lines for line, lines in everything.items() if _name(line) in names)
        done |= names
    return text


def _name(line: str) -> str:
    return line.partition("==")[0]


if __name__ == "__main__":
    LOCK.write_text(sections(*sys.argv[1:]))
