"""The product as a user of Windows meets it, where the journeys of other systems say nothing. `test_lane.py` runs it under Wine."""

import json
import os
import re
from pathlib import Path

import pytest

from tests.journey.conftest import Site, site, zygote
from tests.systems import WINDOWS

__all__ = ["site", "zygote"]
pytestmark = pytest.mark.skipif(not WINDOWS, reason="needs Windows; tests/windows/test_lane.py runs it in Wine")
NAMES = [
    "with space.dat",
    " begins with a space",
    "größe µm.dat",
    "🔬 α.dat",
    "e\u0301 and \xe9.dat",
    "n" * 251 + ".dat",
    "a.b..c.dat",
    ".hidden",
    "UPPER/Scan.DAT",
    "lower/scan.dat",
    "quote'`$(x)%PATH%.dat",
    "[a-z]!{relpath}#~1.dat",
    "-rf",
    "/".join(["d" * 60] * 6) + "/long.dat",
]
ALONE = "alone \ud83d.dat"
"""Half of a pair of surrogates, which NTFS takes as it takes any other number."""


def extended(path: Path) -> str:
    """The path as Windows takes it at any length."""
    return "\\\\?\\" + os.path.abspath(path).replace("/", "\\")


def whole(root: Path) -> dict[str, bytes]:
    """Path below a directory → content, without the agent's own notes."""
    found: dict[str, bytes] = {}
    top = extended(root)
    for directory, _, names in os.walk(top):
        for name in names:
            if not name.startswith(".dropline"):
                path = f"{directory}\\{name}"
                with open(path, "rb") as file:
                    found[path[len(top) + 1 :].replace("\\", "/")] = file.read()
    return found


def test_names_of_every_kind_arrive_in_one_pass(site: Site) -> None:
    """Each as it is, in its case, also beyond 260 characters; half of a pair of surrogates where the system has such a name."""
    expected: dict[str, bytes] = {}
    for name in [*NAMES, ALONE]:
        path = extended(site.inbox / name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        content = name.encode("utf-8", "surrogatepass")
        try:
            with open(path, "wb") as file:
                file.write(content)
        except OSError:
            assert name == ALONE, "Wine has no such names"
            continue
        expected[name] = content
    assert site.once() == 0
    assert whole(site.share) == expected
    assert whole(site.inbox) == expected


def test_a_file_whose_writer_pauses_while_the_agent_is_killed_arrives_whole_and_once(site: Site) -> None:
    """Nothing of it arrives before it is closed, neither by the agent that is killed nor by the next one."""
    first = site.start()
    with (site.inbox / "growing.dat").open("wb", buffering=0) as writer:
        writer.write(b"first half, ")
        site.put("one.dat", b"so that the agent looks")
        site.until(lambda: "one.dat" in site.delivered, "the file beside it")
        first.process.kill()
        first.process.wait(10)
        second = site.start()
        site.put("two.dat", b"so that the agent looks")
        site.until(lambda: "two.dat" in site.delivered, "the file beside it")
        assert "growing.dat" not in site.delivered
        writer.write(b"second half")
    site.until(lambda: "growing.dat" in site.delivered, "the file, once it is closed")
    site.until(lambda: site.states().get("growing.dat") == ["verified"], "the proof")
    assert second.stop() == 0
    beside = dict.fromkeys(("one.dat", "two.dat"), b"so that the agent looks")
    assert site.delivered == beside | {"growing.dat": b"first half, second half"}
    (version,) = site.explain("growing.dat")
    assert [copy["path"] for copy in version["copies"]] == ["growing.dat"]


def test_the_page_and_the_metrics_say_what_was_delivered(site: Site) -> None:
    """The page, /status.json and /metrics agree with the command."""
    site.configure(agent={"listen": "127.0.0.1:0"})
    site.put("a.dat", b"a" * 1500)
    agent = site.start()
    site.until(lambda: site.states().get("a.dat") == ["verified"], "the file is delivered")
    page = agent.get("/")
    assert (page.status, "1 file, 1.5 kB verified." in re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page.body))) == (
        200,
        True,
    )
    assert json.loads(agent.get("/status.json").body) == site.status()
    metrics = agent.get("/metrics").body.splitlines()
    for line in (
        'dropline_files_total{event="verified",rule="r"} 1.0',
        'dropline_verified_bytes_total{destination="share",rule="r"} 1500.0',
        'dropline_destination_up{destination="share"} 1.0',
        'dropline_watch_up{rule="r"} 1.0',
    ):
        assert line in metrics
    assert agent.stop() == 0
