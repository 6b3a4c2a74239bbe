"""`dropline send` as a job script meets it: files of its own, delivered once, with or without an agent."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.globus import Globus, faults
from tests.journey.test_globus import Campus

if TYPE_CHECKING:
    from tests.journey.conftest import Site


def out(site: Site, **files: bytes) -> Path:
    """A folder that no rule watches, with these files."""
    folder = site.root / "job7"
    for name, content in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def states(site: Site) -> dict[str, str]:
    """Name relative to the user's folder → state of the newest version."""
    lines = site.dropline("files", "--format", "json", "--limit", "1000").json
    return {site.relative(one["path"], site.root): one["state"] for one in reversed(lines)}


def test_files_and_folders_go_under_their_own_names_and_stay(site: Site) -> None:
    """A folder is walked, paths count from the named path's parent, local copies stay; the second time all is adopted."""
    site.configure(site.rule(reclaim={"after": "0s"}))
    folder = out(site, a=b"one", sub__b=b"", sub__deep__c=b"three")
    alone = site.root / "alone.log"
    alone.write_bytes(b"log")
    expected = {"job7/a": b"one", "job7/sub/b": b"", "job7/sub/deep/c": b"three", "alone.log": b"log"}
    for _ in range(2):
        done = site.dropline("send", folder, alone, "--to", "share")
        assert (done.code, done.out, site.delivered) == (0, "4 files (11 B) are proved at share\n", expected)
    assert site.once() == 0
    assert site.tree(folder) == {"a": b"one", "sub/b": b"", "sub/deep/c": b"three"}
    assert set(states(site).values()) == {"verified"}
    versions = site.dropline("explain", "--format", "json", "--", alone).json["versions"]
    assert [(one["generation"], one["rule"], one["copies"][0]["path"]) for one in versions] == [
        (1, "send", "alone.log"), (2, "send", "alone.log"),
    ]  # fmt: skip


def test_a_result_that_was_made_again_keeps_the_former_copy_and_touches_nothing_else(site: Site) -> None:
    """As for a watched file, its former copy is renamed; content that is not ours is refused, until it is away and retried."""
    folder = out(site, a=b"first", b=b"ours")
    (site.share / "job7").mkdir()
    (site.share / "job7/b").write_bytes(b"somebody's")
    done = site.dropline("send", folder, "--to", "share", "--wait")
    assert (done.code, done.out) == (1, "1 files (5 B) are proved at share\n")
    assert f"refused: {folder}/b: at share, " in done.err
    out(site, a=b"second, longer")
    assert site.dropline("send", folder / "a", "--to", "share").code == 0
    (site.share / "a").unlink()
    assert site.dropline("send", folder, "--to", "share").code == 1
    assert site.delivered == {"job7/a": b"second, longer", "job7/a~1": b"first", "job7/b": b"somebody's"}
    assert states(site)["job7/b"] == "refused"
    (site.share / "job7/b").unlink()
    assert site.dropline("retry").code == 0
    assert site.once() == 0
    assert site.delivered == {"job7/a": b"second, longer", "job7/a~1": b"first", "job7/b": b"ours"}


@pytest.mark.usefixtures("leases")
def test_a_file_with_a_writer_is_refused_and_the_others_go(site: Site) -> None:
    """Who has it open is not waited for: the reason is told, the exit code is 1, and nothing of it is at the share."""
    folder = out(site, a=b"whole", b=b"half")
    (folder / "link").symlink_to("a")
    os.mkfifo(folder / "pipe")
    with (folder / "b").open("ab"):
        done = site.dropline("send", folder, folder / "nowhere", "--to", "share", fresh=True)
    assert done.code == 1
    assert sorted(line for line in done.err.splitlines() if line.startswith("refused: ")) == [
        f"refused: {folder}/b: a process has it open for writing",
        f"refused: {folder}/link: a link, not a file; name what it points to",
        f"refused: {folder}/nowhere: No such file or directory",
        f"refused: {folder}/pipe: a FIFO, not a file",
    ]
    assert site.delivered == {"job7/a": b"whole"}


def test_the_agent_that_runs_delivers(site: Site) -> None:
    """Without --wait the command hands over and ends; with it, it ends when all is proved, and the agent goes on."""
    agent = site.start()
    folder = out(site, a=b"one", b=b"two")
    done = site.dropline("send", folder / "a", "--to", "share")
    assert (done.code, "handed to the agent" in done.out) == (0, True)
    done = site.dropline("send", folder / "b", "--to", "share", "--wait")
    assert (done.code, done.out) == (0, "1 files (3 B) are proved at share\n")
    site.until(lambda: site.delivered == {"a": b"one", "b": b"two"}, "delivery")
    site.put("c", b"three")
    site.until(lambda: "c" in site.delivered, "the agent goes on")
    assert agent.stop() == 0


def test_while_the_destination_is_away_the_intent_stays(site: Site) -> None:
    """Without --wait the command ends with the reason; --wait lasts until the time is over; the next run delivers."""
    assert site.once() == 0
    identity = site.share / ".dropline-destination"
    identity.rename(site.root / "kept")
    folder = out(site, a=b"one", b=b"two")
    done = site.dropline("send", folder / "a", "--to", "share")
    assert (done.code, "the share is not mounted" in done.err, done.out) == (1, True, "")
    done = site.dropline("send", folder / "b", "--to", "share", "--wait", "--timeout", "1s")
    assert (done.code, "the share is not mounted" in done.err, done.out) == (1, True, "")
    assert site.status()["deliveries"]["share"] == {"pending": 2}
    out(site, b=b"changed meanwhile")
    (site.root / "kept").rename(identity)
    assert site.once() == 0
    assert site.delivered == {"a": b"one"}
    assert states(site) == {"job7/a": "verified", "job7/b": "superseded"}
    (version,) = site.dropline("explain", "--format", "json", "--", folder / "b").json["versions"]
    assert version["reason"] == "it changed before it was delivered; send it again"


def test_many_at_once_all_deliver(site: Site) -> None:
    """Job scripts that end at the same moment wait for one another, and none leaves its files behind."""
    folders = []
    for number in range(5):
        folder = site.root / f"job{number}"
        folder.mkdir()
        (folder / "result").write_bytes(b"x" * number)
        folders.append(folder)
    processes = [
        site.spawn("send", folder, "--to", "share", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for folder in folders
    ]
    ended = [(process.communicate(timeout=60)[1], process.returncode) for process in processes]
    assert [code for _, code in ended] == [0] * 5, ended
    assert site.delivered == {f"job{number}/result": b"x" * number for number in range(5)}


@pytest.mark.parametrize("first", ["rule", "send"])
def test_a_watched_file_goes_by_its_rule_all_the_same(site: Site, first: str) -> None:
    """Sent before or after its rule took it: it is delivered by both, reclaimed by the rule, and known to be."""
    (site.root / "other").mkdir()
    places = {"share": {"path": "share"}, "other": {"path": "other"}}
    path = site.put("run/a", b"one")
    site.configure(site.rule(), destinations=places)
    for step in ("rule", "send") if first == "rule" else ("send", "rule"):
        if step == "rule":
            assert site.once() == 0
        else:
            assert site.dropline("send", path, "--to", "other").code == 0
    assert (site.delivered, site.tree(site.root / "other")) == ({"run/a": b"one"}, {"a": b"one"})
    assert site.dropline("wait", path, "--timeout", "1s").code == 0
    site.configure(site.rule(reclaim={"after": "0s"}), destinations=places)
    assert site.once() == 0
    assert site.local == {}
    assert sorted(site.states()["run/a"]) == ["reclaimed", "verified"]
    site.put("run/a", b"again")
    assert site.once() == 0
    assert site.delivered == {"run/a": b"one", "run/a~3": b"again"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["job7", "--to", "nowhere"], "known are share"),
        (["share", "--to", "share"], "keep them apart"),
        ([".", "--to", "share"], "keep them apart"),
        (["job7", "--to", "share", "--timeout", "soon"], "soon"),
    ],
)
def test_usage_is_told_from_trouble(site: Site, words: list[str], said: str) -> None:
    """What can never work is exit code 2, with a hint, and nothing is written down."""
    out(site, a=b"one")
    done = site.dropline("send", *words)
    assert (done.code, said in done.err, site.delivered) == (2, True, {})


def test_an_empty_folder_is_nothing_to_send(site: Site) -> None:
    """That is no failure."""
    (site.root / "empty").mkdir()
    done = site.dropline("send", "empty", "--to", "share")
    assert (done.code, done.out, done.err) == (0, "nothing was sent\n", "")


def test_through_globus_a_lost_answer_makes_no_second_task(site: Site) -> None:
    """The same through a transfer service: one task, with the proof by checksum."""
    with Globus(by_itself=True) as service:
        campus = Campus(site, service)
        campus.source.base = site.root
        campus.configure({"client_id": service.account.id, "client_secret": "not-so-secret"})
        site.config.write_text(site.config.read_text().replace(str(site.inbox), str(site.root)))
        folder = out(site, a=b"one", sub__b=b"two")
        service.faults.lose_reply("POST /v0.10/transfer", 2)
        service.faults.answer("GET */submission_id", faults.unavailable(), 1)
        done = site.dropline("send", str(folder), "--to", "share", "--wait")
        assert (done.code, done.out) == (0, "2 files (6 B) are proved at share\n"), done.err
        assert {name: content for name, content in site.delivered.items() if name.startswith("job7")} == {
            "job7/a": b"one", "job7/sub/b": b"two",
        }  # fmt: skip
        assert len(service.tasks.all) == 1
        outside = site.dropline("send", "/", "--to", "share")
        assert (outside.code, "is not below" in outside.err) == (2, True)
