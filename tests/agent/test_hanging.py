"""A watched folder that hangs, on a real file system of a real kernel: the pages, /healthz and /metrics still answer."""

import http.client
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from psutil import STATUS_ZOMBIE, Process

from agent.app.configuration import read
from agent.app.pages import Page
from agent.app.parts import Parts
from agent.app.run import once
from agent.host.lock import Held, locked
from agent.host.worker import Clock
from agent.observe.file_inspector import FileInspector
from agent.observe.metrics import Metrics
from agent.observe.status import Health, health
from agent.observe.web.server import Server
from tests.campaign.moody import Share, mounted

Until = Callable[[Callable[[], bool], str], bool]
SOON = 5.0
"""Seconds. Of a call that hangs there is no end."""


class Site:
    """An agent's pages, of a watched folder on a share that may hang."""

    def __init__(self, server: Server, share: Share, looks: FileInspector) -> None:
        self.share = share
        self.looks = looks
        self._address = urlsplit(server.url).netloc

    def get(self, path: str) -> tuple[int, str]:
        """Status and text of an answer, which comes soon."""
        connection = http.client.HTTPConnection(self._address, timeout=SOON)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """One file is delivered; then its folder's file system hangs."""
    with mounted(tmp_path / "moody") as share, ExitStack() as stack:
        config_file = tmp_path / "dropline.toml"
        (tmp_path / "copies").mkdir()
        config_file.write_text(
            f'[agent]\nstate_dir = "{tmp_path}/state"\nlisten = "127.0.0.1:0"\ncanary_every = "0s"\n'
            f'[destinations.copies]\npath = "{tmp_path}/copies"\n[[rules]]\nname = "r"\nwatch = "{share.path}"\n'
            'complete = { quiet = "0s" }\nbatch = { linger = "0s" }\ndeliver = [{ to = "copies" }]\n'
        )
        (share.path / "run").mkdir()
        (share.path / "run/a").write_bytes(b"x")
        config = read(config_file)
        assert once(config)
        metrics, clock = Metrics(), Clock()
        parts = Parts(config, metrics, lambda name: lambda: None, stack)
        looks = FileInspector(clock, [rule.watch for rule in config.rules])

        def well() -> Health:
            return health([], parts.intake.roots, 300.0, {}, {}, looks.silent(), clock())

        for root in parts.intake.roots:
            root.watch.present, root.swept_at = True, clock()
        server = Page(parts, well, metrics, clock, looks, None).serve()
        assert server is not None
        stack.callback(server.close)
        server.start()
        yield Site(server, share, looks)
        share.mood()


def text(page: str) -> str:
    """The page's text without its tags."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page))


def test_a_folder_that_hangs_takes_no_page_with_it(site: Site, until: Until) -> None:
    """They say since when there is no answer, and none that it is safe; a metric that cannot be had is absent, not old."""
    folder = "/of?id=1"
    file = f"/file?path={site.share.path}/run/a"
    free = 'dropline_source_free_bytes{rule="r"}'
    assert "Safe to remove" in site.get(folder)[1]
    assert "Safe to remove" in site.get(file)[1]
    assert free in site.get("/metrics")[1]
    assert site.get("/healthz") == (200, "ok\n")
    site.share.mood(hang=["*"])
    for _ in range(3):
        began = time.monotonic()
        assert f"{site.share.path} does not answer no answer since 20" in text(site.get("/")[1])
        status, page = site.get(folder)
        assert (status, "Safe to remove" in page) == (200, False)
        assert "Not now: it cannot be looked at: no answer since 20" in text(page)
        status, page = site.get(file)
        assert (status, "Safe to remove" in page) == (200, False)
        assert "Whether it is there now cannot be told" in text(page)
        status, metrics = site.get("/metrics")
        assert (status, free in metrics, "dropline_watch_up" in metrics) == (200, False, True)
        assert site.get("/?q=a")[0] == 200
        assert re.fullmatch(rf"ok\n{site.share.path}: no answer since 20[-0-9]+ [0-9:+-]+\n", site.get("/healthz")[1])
        assert time.monotonic() - began < SOON
    waiting = [thread.name for thread in threading.enumerate() if thread.name.startswith("asks ")]
    assert waiting == [f"asks {site.share.path}"] * len(waiting)
    assert len(waiting) <= 2, "one for looks, one for listings"
    site.share.mood()
    until(lambda: not site.looks.silent(), "the share answers again")
    assert until(lambda: "Safe to remove" in site.get(folder)[1], "the folder's page")
    assert free in site.get("/metrics")[1]


STOPPED_IN_THE_KERNEL = """
import os, sys, threading
from pathlib import Path
from agent.host.lock import locked
state, hangs = sys.argv[1:]
with locked(Path(state)):
    threading.Thread(target=os.stat, args=(hangs,), daemon=True).start()
    print("waits", flush=True)
    sys.stdin.readline()
    os._exit(1)
"""


def test_an_agent_that_was_stopped_and_waits_in_the_kernel_is_named_with_what_ends_it(
    tmp_path: Path, until: Until
) -> None:
    """It keeps its lock until its file system answers; a person is told which process that is, and may then start."""
    with mounted(tmp_path / "moody") as share:
        (share.backing / "file").write_bytes(b"x")
        share.mood(hang=["*"])
        stopped = subprocess.Popen(
            [sys.executable, "-c", STOPPED_IN_THE_KERNEL, str(tmp_path / "state"), str(share.path / "file")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert stopped.stdin is not None
        assert stopped.stdout is not None
        assert stopped.stdout.readline() == "waits\n"
        task = Path(f"/proc/{stopped.pid}/task")
        assert until(
            lambda: any((each / "wchan").read_text().startswith("request_wait") for each in task.iterdir()), "it hangs"
        )
        stopped.stdin.write("\n")
        stopped.stdin.flush()
        assert until(lambda: Process(stopped.pid).status() == STATUS_ZOMBIE, "it is stopped")
        with pytest.raises(Held) as refused, locked(tmp_path / "state", 0.0):
            pass
        assert str(refused.value) == (
            f"a former agent (process {stopped.pid}) keeps {tmp_path}/state: it was stopped, and still waits in the kernel "
            "for a file system that does not answer; end the program that serves that file system (sshfs, rclone) or unmount "
            "it with umount -f, then start again"
        )
        share.mood()
        stopped.communicate(timeout=30)
        assert stopped.returncode == 1
        with locked(tmp_path / "state"):
            pass
