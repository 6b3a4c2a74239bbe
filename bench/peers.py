"""The contenders: one command each, with the configuration that shows it at its best. The reasons are in README.md."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Place:
    """Where one run happens: the tree to deliver, an empty share, an empty directory for configuration and state."""

    source: Path
    share: Path
    state: Path


@dataclass(frozen=True)
class Tools:
    """The commands that were found; None: not on this machine."""

    rsync: str | None
    ferry: str | None
    dropline: str | None


@dataclass(frozen=True)
class Peer:
    """One contender. `prepare` writes its configuration and returns its command; `absent` says why it cannot run."""

    name: str
    about: str
    prepare: Callable[[Place], list[str]]
    absent: str = ""


def find(ferry: str | None, dropline: str | None) -> Tools:
    """Look the commands up: as given, else dropline beside this interpreter or in ./.venv, else in PATH."""
    beside = [Path(sys.executable).parent / "dropline", Path(__file__).parents[1] / ".venv/bin/dropline"]
    return Tools(
        rsync=shutil.which("rsync"),
        ferry=_resolve(shutil.which(ferry or "ferry")),
        dropline=_resolve(shutil.which(dropline) if dropline else _first(beside) or shutil.which("dropline")),
    )


def small(tools: Tools) -> list[Peer]:
    """Many small files. The first is the reference."""
    return [rsync(tools), cp(), cp_sync(), rsync_fsync(tools), ferry(tools, "sha256"), dropline(tools, "checksum")]


def large(tools: Tools) -> list[Peer]:
    """Few large files. The first is the reference."""
    return [
        cp(),
        cp_sync(),
        rsync(tools),
        ferry(tools, "size"),
        ferry(tools, "sha256"),
        dropline(tools, "size"),
        dropline(tools, "checksum"),
    ]


def live(tools: Tools) -> list[Peer]:
    """Agents that deliver while files are being written."""
    return [
        naive(),
        ferry_live(tools, settle="0s"),
        ferry_live(tools, settle="1s"),
        dropline_live(tools, "dropline quiet=0s", quiet="0s", linger="0s"),
        dropline_live(tools, "dropline default quiet", quiet=None, linger="0s"),
        dropline_live(tools, "dropline all defaults", quiet=None, linger=None),
    ]


def cp() -> Peer:
    """GNU cp: one pass, no verification, nothing made durable."""
    return Peer("cp -r", "cp -r SOURCE/. SHARE/", lambda at: ["cp", "-r", f"{at.source}/.", f"{at.share}/"])


def cp_sync() -> Peer:
    """GNU cp, and then everything on the share's file system made durable at once."""
    script = 'cp -r "$1/." "$2/" && sync -f "$2"'
    return Peer(
        "cp -r; sync -f",
        "cp -r SOURCE/. SHARE/ && sync -f SHARE",
        lambda at: ["sh", "-c", script, "sh", str(at.source), str(at.share)],
    )


def rsync(tools: Tools) -> Peer:
    """rsync to a local path: temporary name and rename, no reading back, nothing made durable."""
    return Peer(
        "rsync -a",
        "rsync -a SOURCE/ SHARE/",
        lambda at: [tools.rsync or "", "-a", f"{at.source}/", f"{at.share}/"],
        absent="" if tools.rsync else "rsync is not in PATH",
    )


def rsync_fsync(tools: Tools) -> Peer:
    """rsync with each file made durable before its rename (rsync 3.2.4 or later)."""
    return Peer(
        "rsync -a --fsync",
        "rsync -a --fsync SOURCE/ SHARE/",
        lambda at: [tools.rsync or "", "-a", "--fsync", f"{at.source}/", f"{at.share}/"],
        absent="" if tools.rsync else "rsync is not in PATH",
    )


def ferry(tools: Tools, verify: str) -> Peer:
    """ferry, one pass. `verify` is ferry's own word: `sha256` reads back, `size` asks for the stored size."""

    def prepare(at: Place) -> list[str]:
        return [tools.ferry or "", "-c", _ferry_config(at, verify=verify, settle="0s", idle="0s"), "run"]

    return Peer(f"ferry {verify}", f"ferry run, verify: {verify}, upload: file", prepare, _no_ferry(tools))


def ferry_live(tools: Tools, settle: str) -> Peer:
    """ferry as a daemon that looks every 100 ms, each file sent once its mtime is `settle` old."""

    def prepare(at: Place) -> list[str]:
        return [tools.ferry or "", "-c", _ferry_config(at, verify="sha256", settle=settle, idle="60s"), "watch"]

    return Peer(f"ferry settle={settle}", f"ferry watch, verify: sha256, settle: {settle}", prepare, _no_ferry(tools))


def dropline(tools: Tools, verify: str) -> Peer:
    """dropline, one pass. `verify`: `checksum` reads back, `size` hashes while copying; both make each file durable."""

    def prepare(at: Place) -> list[str]:
        config = _dropline_config(at, verify=verify, quiet="0s", linger="0s")
        return [tools.dropline or "", "run", "--config", config, "--once"]

    return Peer(f"dropline {verify}", f'dropline run --once, verify = "{verify}"', prepare, _no_dropline(tools))


def dropline_live(tools: Tools, name: str, quiet: str | None, linger: str | None) -> Peer:
    """dropline as a daemon; None leaves a key out, so that its default counts."""

    def prepare(at: Place) -> list[str]:
        config = _dropline_config(at, verify="checksum", quiet=quiet, linger=linger)
        return [tools.dropline or "", "run", "--config", config]

    about = f"dropline run, quiet {quiet or 'not set'}, linger {linger or 'not set'}"
    return Peer(name, about, prepare, _no_dropline(tools))


def naive() -> Peer:
    """The usual 30 lines of watchdog: copies what was closed, checks nothing, remembers nothing."""
    script = Path(__file__).with_name("naive.py")
    return Peer(
        "naive",
        "python bench/naive.py SOURCE SHARE",
        lambda at: [sys.executable, str(script), str(at.source), str(at.share)],
        absent="" if importlib.util.find_spec("watchdog") else f"{sys.executable} has no watchdog",
    )


def _ferry_config(at: Place, verify: str, settle: str, idle: str) -> str:
    config = {
        "state_dir": str(at.state / "ferry"),
        "stores": {"share": {"url": str(at.share)}},
        "pipelines": [
            {
                "name": "bench",
                "root": str(at.source),
                "prefix": "",
                "destinations": [{"store": "share", "verify": verify}],
                "unit": {"dirs": "*"},
                "include": ["**"],
                "mode": "stream",
                "watch": "poll",
                "poll_interval": "100ms",
                "upload": "file",
                "settle": settle,
                "unit_idle": idle,
            }
        ],
    }
    return _write(at.state / "ferry.yaml", json.dumps(config, indent=2))  # JSON is YAML


def _dropline_config(at: Place, verify: str, quiet: str | None, linger: str | None) -> str:
    batch = 'by = "dir"' if linger is None else f'by = "dir", linger = "{linger}"'
    lines = [
        "[agent]",
        f"state_dir = {_quoted(at.state / 'dropline')}",
        'listen = ""',
        "[destinations.share]",
        'transport = "directory"',
        f"path = {_quoted(at.share)}",
        f'verify = "{verify}"',
        'checksum = "sha256"',
        "[[rules]]",
        'name = "bench"',
        f"watch = {_quoted(at.source)}",
        'include = ["**"]',
        *([] if quiet is None else [f'complete = {{ quiet = "{quiet}" }}']),
        f"batch = {{ {batch} }}",
        'deliver = [{ to = "share" }]',
    ]
    return _write(at.state / "dropline.toml", "\n".join(lines) + "\n")


def _write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def _quoted(path: Path) -> str:
    return json.dumps(str(path), ensure_ascii=False)  # a JSON string is a TOML basic string


def _first(paths: list[Path]) -> str | None:
    return next((str(path) for path in paths if path.is_file()), None)


def _resolve(command: str | None) -> str | None:
    return str(Path(command).absolute()) if command else None  # contenders run in a directory of their own


def _no_ferry(tools: Tools) -> str:
    return "" if tools.ferry else "ferry was not found: pip install ferry-ingest, or --ferry PATH"


def _no_dropline(tools: Tools) -> str:
    return "" if tools.dropline else "dropline was not found: install it, or --dropline PATH"
