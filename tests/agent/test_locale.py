"""A name is its bytes, whatever the locale of the agent."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

NAMES = [
    b"plain.h5",
    "Prüfling.h5".encode(),
    b"M\xfcller.h5",
    b"\x80\xa4\xff",
    "測定".encode(),
    "測定".encode("euc_jp"),
]
CODE = """
import os, sys
from agent.files import LOCAL
from agent.files.events import Hint
from agent.files.posix import mounts
from agent.intake.root import Root
from agent.intake.scanner import Scanner
from agent.intake.watch import Watch
from agent.ledger import Ledger
from rules.rule import Rule, Target

data, other = os.fsdecode(bytes.fromhex(sys.argv[1])), os.fsdecode(bytes.fromhex(sys.argv[2]))
ledger = Ledger(data + ".sqlite")
root = Root(Watch(LOCAL, data, lambda: None), [Rule("r", data, deliver=(Target("s"),))])
scanner = Scanner(ledger, LOCAL, [root])

def known():
    rows = ledger.files._store.execute("SELECT name FROM files WHERE state = 'candidate'")
    return sorted(name.hex() for (name,) in rows)

def sweep(now):
    root.why = "start"
    while scanner.take_sweeps(now):
        pass

names = os.listdir(data)
root.watch._put([Hint(f"{data}/{name}") for name in names[::2]])  # as an event tells some of them ...
scanner.take_hints(1.0)
sweep(2.0)                                                        # ... and a sweep the others
sweep(3.0)
root.watch._put([Hint(f"{data}/{name}") for name in names])
scanner.take_hints(4.0)
print(sys.getfilesystemencoding(), *known())
print(mounts._plain(os.fsencode(other).replace(b" ", b"\\\\040")) == other)
"""


@pytest.mark.skipif(sys.platform != "linux" or shutil.which("localedef") is None, reason="needs localedef")
@pytest.mark.parametrize(("locale", "charmap"), [("de_DE", "ISO-8859-1"), ("ja_JP", "EUC-JP"), ("C", "")])
def test_names_are_bytes_in_every_locale(tmp_path: Path, locale: str, charmap: str) -> None:
    """Events, sweeps, the ledger and the mount table mean the same file by a name, once each."""
    data = os.fsencode(tmp_path) + "/Größe".encode()
    os.mkdir(data)
    for name in NAMES:
        os.close(os.open(data + b"/" + name, os.O_WRONLY | os.O_CREAT))
    if charmap:
        made = ["localedef", "-i", locale, "-f", charmap, str(tmp_path / f"{locale}.{charmap}")]
        if subprocess.run(made, capture_output=True, check=False).returncode > 1:
            pytest.skip(f"{locale} is not known here")
        locale = f"{locale}.{charmap}"
    env = os.environ | {"LOCPATH": str(tmp_path), "LC_ALL": locale, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [sys.executable, "-P", "-c", CODE, data.hex(), (data + b" \xff").hex()],
        capture_output=True, check=True, text=True, timeout=60, env=env,
    )  # fmt: skip
    (encoding, *known), same = done.stdout.splitlines()[0].split(), done.stdout.splitlines()[1]
    assert known == sorted(name.hex() for name in NAMES)
    assert (same, encoding == "utf-8") == ("True", False)
