"""The contenders: one command each, with the configuration that shows it at its best. The reasons are in README.md."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from collections.abc import Callable, Sequence
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
    rclone: str | None
    lsyncd: str | None
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
        rclone=shutil.which("rclone"),
        lsyncd=shutil.which("lsyncd"),
        ferry=_resolve(shutil.which(ferry or "ferry")),
        dropline=_resolve(shutil.which(dropline) if dropline else _first(beside) or shutil.which("dropline")),
    )


def small(tools: Tools) -> list[Peer]:
    """Many small files. The first is the reference."""
    return [
        rsync(tools),
        cp(),
        cp_sync(),
        rsync_fsync(tools),
        rclone(tools),
        ferry(tools, "sha256"),
        dropline(tools, "checksum"),
    ]


def tiny(tools: Tools) -> list[Peer]:
    """Very many, very small files."""
    return [rsync(tools), ferry(tools, "sha256"), dropline(tools, "checksum")]


def again(tools: Tools) -> list[Peer]:
    """Those that know what they delivered, or find out."""
    return [rsync(tools), ferry(tools, "size"), dropline(tools, "size")]


def two(tools: Tools) -> list[Peer]:
    """One destination, then two. The first is the reference."""
    return [dropline(tools, "checksum"), dropline_two(tools)]


def beside(tools: Tools) -> list[Peer]:
    """Those that drain a backlog while a detector writes."""
    return [
        rsync(tools),
        dropline(tools, "checksum"),
        dropline_with(tools, "dropline nice, idle", agent=["nice = 19", 'io_priority = "idle"']),
        dropline_with(tools, "dropline 50 MB/s", destination=['bandwidth = "50MB"']),
    ]


def large(tools: Tools) -> list[Peer]:
    """Few large files. The first is the reference."""
    return [
        cp(),
        cp_sync(),
        rsync(tools),
        rclone(tools),
        ferry(tools, "size"),
        ferry(tools, "sha256"),
        dropline(tools, "size"),
        dropline(tools, "checksum"),
    ]


def live(tools: Tools) -> list[Peer]:
    """Agents that deliver while files are being written."""
    return [
        naive(),
        lsyncd(tools),
        ferry_live(tools, settle="0s"),
        ferry_live(tools, settle="1s"),
        dropline_live(tools, "dropline quiet=0s", quiet="0s", linger="0s"),
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


def rclone(tools: Tools) -> Peer:
    """rclone to a local path: compares checksums of what it wrote where a backend has some (a local one has)."""
    return Peer(
        "rclone copy",
        "rclone copy --transfers 8 SOURCE SHARE",
        lambda at: [
            tools.rclone or "",
            "copy",
            "--config",
            "/dev/null",
            "--transfers",
            "8",
            str(at.source),
            str(at.share),
        ],
        absent="" if tools.rclone else "rclone is not in PATH",
    )


def lsyncd(tools: Tools) -> Peer:
    """lsyncd with its shortest delay: collects events, then runs rsync with the names."""

    def prepare(at: Place) -> list[str]:
        text = f"""\
settings {{ nodaemon = true, inotifyMode = "CloseWrite" }}
sync {{ default.rsync, source = {_quoted(at.source)}, target = {_quoted(at.share)}, delay = 1, delete = false,
        rsync = {{ archive = true, compress = false, whole_file = true }} }}
"""
        return [tools.lsyncd or "", _write(at.state / "lsyncd.lua", text)]

    missing = "lsyncd or rsync is not in PATH"
    return Peer("lsyncd", "lsyncd, default.rsync, delay 1", prepare, "" if tools.lsyncd and tools.rsync else missing)


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


def dropline_two(tools: Tools) -> Peer:
    """dropline, one pass, to the share and to a second directory (in the state, so that nobody else counts its files)."""

    def prepare(at: Place) -> list[str]:
        second = at.state / "second"
        second.mkdir()
        config = _dropline_config(at, verify="checksum", quiet="0s", linger="0s", second=second)
        return [tools.dropline or "", "run", "--config", config, "--once"]

    return Peer("dropline, 2 shares", "dropline run --once, two destinations", prepare, _no_dropline(tools))


def dropline_with(tools: Tools, name: str, agent: Sequence[str] = (), destination: Sequence[str] = ()) -> Peer:
    """dropline, one pass, with more lines in `[agent]` and in the destination."""

    def prepare(at: Place) -> list[str]:
        config = _dropline_config(at, verify="checksum", quiet="0s", linger="0s", agent=agent, destination=destination)
        return [tools.dropline or "", "run", "--config", config, "--once"]

    return Peer(name, f"dropline run --once, {', '.join([*agent, *destination])}", prepare, _no_dropline(tools))


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


def _dropline_config(
    at: Place, verify: str, quiet: str | None, linger: str | None, *,
    second: Path | None = None, agent: Sequence[str] = (), destination: Sequence[str] = (),
) -> str:  # fmt: skip
    batch = 'by = "dir"' if linger is None else f'by = "dir", linger = "{linger}"'
    lines = [
        "[agent]",
        f"state_dir = {_quoted(at.state / 'dropline')}",
        'listen = ""',
        *agent,
        "[destinations.share]",
        'transport = "directory"',
        f"path = {_quoted(at.share)}",
        f'verify = "{verify}"',
        'checksum = "sha256"',
        *destination,
        *([] if second is None else ["[destinations.second]", f"path = {_quoted(second)}"]),
        "[[rules]]",
        'name = "bench"',
        f"watch = {_quoted(at.source)}",
        'include = ["**"]',
        *([] if quiet is None else [f'complete = {{ quiet = "{quiet}" }}']),
        f"batch = {{ {batch} }}",
        'deliver = [{ to = "share" }]' if second is None else 'deliver = [{ to = "share" }, { to = "second" }]',
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
