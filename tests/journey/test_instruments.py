"""Instruments as a user meets them: presets, trying them out, datasets that wait, the demonstration."""

import hashlib
import json
import os
import shutil
import sys
import time
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from agent.app import presets

if TYPE_CHECKING:
    from tests.journey.conftest import Site

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="leases as on Linux")
RUN = "230224_M02439_0043_000000000-KT42M"
PLACE = "illumina/M02439/230224_0043_000000000-KT42M"
DONE = [{"marker": "done"}]


def run_rule(site: "Site", **keys: Any) -> dict[str, Any]:
    """Folders run_N are datasets, complete with a file `done`."""
    complete = {"quiet": "0s", "require": DONE}
    return site.rule(dataset={"dir": "run_[0-9]+/"}, complete=complete, **keys)


def test_presets_are_listed_and_shown_as_toml_and_in_words(site: "Site") -> None:
    """`presets` names each, `presets NAME` prints its file and what it will do."""
    listed = site.dropline("presets", "--format", "json").json
    assert [one["name"] for one in listed] == presets.names()
    shown = site.dropline("presets", "illumina")
    assert shown.code == 0
    assert tomllib.loads(shown.out)["path"].startswith("illumina/")
    assert "CopyComplete.txt is there" in shown.out
    wrong = site.dropline("presets", "ilumina")
    assert (wrong.code, "there is no preset 'ilumina'; did you mean 'illumina'?" in wrong.err) == (2, True)


def test_a_preset_and_a_folder_are_enough_to_configure(site: "Site") -> None:
    """`preset = "illumina"` and `watch`: the run travels whole, to where the preset says."""
    site.configure({"name": "seq", "watch": "inbox", "preset": "illumina", "complete": {"quiet": "0s"},
                    "deliver": [{"to": "share"}]})  # fmt: skip
    site.put(f"{RUN}/RunInfo.xml", b"<RunInfo/>")
    site.put(f"{RUN}/Data/s_1.bcl", b"data")
    site.put("notes.txt", b"no run")
    assert site.once() == 1, "the run is left"
    assert site.delivered == {}
    (waiting,) = site.status()["datasets"]
    assert (waiting["name"], waiting["rule"]) == (RUN, "seq")
    assert waiting["reason"] == "CopyComplete.txt is not there, and RTAComplete.txt is not there"
    site.put(f"{RUN}/RTAComplete.txt", b"")
    site.put(f"{RUN}/CopyComplete.txt", b"")
    assert site.once() == 0
    assert site.delivered == {
        f"{PLACE}/RunInfo.xml": b"<RunInfo/>", f"{PLACE}/Data/s_1.bcl": b"data",
        f"{PLACE}/RTAComplete.txt": b"", f"{PLACE}/CopyComplete.txt": b"",
    }  # fmt: skip
    assert site.status()["datasets"] == []


def test_what_a_rule_says_itself_counts_before_its_preset(site: "Site") -> None:
    """Keys replace keys; `complete` and `batch` are filled key by key; a path of the rule's own stays."""
    site.configure({"name": "seq", "watch": "inbox", "preset": "illumina", "complete": {"quiet": "0s", "require": DONE},
                    "deliver": [{"to": "share", "path": "{relpath}"}]})  # fmt: skip
    site.put(f"{RUN}/done", b"")
    assert site.once() == 0
    assert site.delivered == {f"{RUN}/done": b""}


def test_a_preset_that_does_not_exist_is_a_mistake_in_the_configuration(site: "Site") -> None:
    """One line: file, table, what is wrong."""
    site.configure(site.rule(preset="nexus"))
    found = site.dropline("check")
    assert found.code == 2
    assert f"{site.config}:3: [[rules]] 'r': there is no preset 'nexus'" in found.err


def test_an_aborted_run_is_held_shown_and_released(site: "Site") -> None:
    """`status` names it, `explain` says why, `complete` lets it go, and the reason stays with the files."""
    site.configure(run_rule(site))
    path = site.put("run_1/a", b"x")
    assert site.once() == 1, "the run is left"
    shown = site.dropline("status")
    assert "run_1 (rule r): done is not there" in shown.out
    assert site.explain("run_1/a")[0]["dataset"] == {
        "name": "run_1", "complete": 0, "waits": True, "reason": "done is not there"
    }  # fmt: skip
    assert site.dropline("complete", path.parent).code == 0
    assert site.once() == 0
    assert site.delivered == {"run_1/a": b"x"}
    (version,) = site.explain("run_1/a")
    said = "incomplete: a person said it is complete; it waited for this: done is not there"
    assert version["dataset"] == {"name": "run_1", "complete": 1, "waits": False, "reason": said}
    again = site.dropline("complete", "run_1")
    assert (again.code, "dataset 'run_1' does not wait" in again.err) == (2, True)
    unknown = site.dropline("complete", "run_9")
    assert (unknown.code, "no dataset 'run_9' is known" in unknown.err) == (2, True)


def test_what_comes_late_or_changes_travels_as_a_supplement(site: "Site") -> None:
    """Never lost, and visible as its own batch."""
    site.configure(run_rule(site))
    site.put("run_1/a", b"x")
    site.put("run_1/done", b"")
    assert site.once() == 0
    site.put("run_1/a", b"x, and more")
    site.put("run_1/late", b"y")
    assert site.once() == 0
    assert site.delivered == {"run_1/a": b"x, and more", "run_1/late": b"y", "run_1/done": b""}
    batches = site.dropline("batches", "--format", "json").json
    assert [(one["key"], one["files"]) for one in batches] == [
        ("dataset run_1, supplement 1", 2), ("dataset run_1, last", 1), ("dataset run_1", 1)
    ]  # fmt: skip


@pytest.mark.parametrize("sign", ["the folder is made again", "the marker is written again", "a file comes back"])
def test_a_name_that_is_used_again_is_another_dataset(site: "Site", sign: str) -> None:
    """By each sign alone: it waits for its own marker, stays here until then, and has a folder of its own at the share."""
    reclaim = {"reclaim": {"after": "0s"}} if sign == "a file comes back" else {}
    site.configure(run_rule(site, **reclaim))
    first = {"run_1/a": b"first", "run_1/b": b"first", "run_1/done": b"first"}
    for name, content in first.items():
        site.put(name, content)
    assert site.once() == 0
    if reclaim:
        site.until(lambda: site.once() == 0 and not site.local, "the local files go")
    assert site.delivered == first
    if sign == "the folder is made again":
        shutil.rmtree(site.inbox / "run_1")
    second = "run_1/a" if reclaim else "run_1/other"
    if sign != "the marker is written again":
        site.put(second, b"second")
        here = site.local
        assert site.once() == 1
        assert (site.delivered, site.local, site.states()[second][0]) == (first, here, "candidate")
    else:
        site.put(second, b"second")
    site.put("run_1/done", b"second, done")
    assert site.once() == 0
    own = {second.replace("run_1", "run_1~2"): b"second", "run_1~2/done": b"second, done"}
    assert site.delivered == first | own


def test_a_marker_shows_at_the_share_after_all_other_files(site: "Site") -> None:
    """A program there begins with it: while one file is refused it is held back, with the reason, until a person says so."""
    site.configure(run_rule(site))
    (site.share / "run_1").mkdir()
    (site.share / "run_1/b").write_bytes(b"somebody else's")
    site.put("run_1/done", b"")
    for name in "abc":
        site.put(f"run_1/{name}", b"mine")
    assert site.once() == 1
    there = {"run_1/a": b"mine", "run_1/b": b"somebody else's", "run_1/c": b"mine"}
    assert site.delivered == there
    (delivery,) = site.explain("run_1/done")[-1]["deliveries"]
    assert f"{site.inbox}/run_1/b is refused: " in delivery["reason"]
    assert "the markers of its dataset wait" in site.dropline("status").out
    done = site.dropline("complete", "run_1")
    assert (done.code, done.out) == (0, "the markers of dataset run_1 travel without the files that they waited for\n")
    assert site.once() == 1
    assert site.delivered == there | {"run_1/done": b""}


def test_a_wrong_checksum_refuses_and_the_right_data_travels_with_its_evidence(site: "Site") -> None:
    """Both checksums are named; `explain` shows the one that was compared."""
    right = hashlib.sha256(b"good").hexdigest()
    wrong = hashlib.sha256(b"bad").hexdigest()
    site.configure({"name": "d", "watch": "inbox", "preset": "manifest", "complete": {"quiet": "0s"},
                    "deliver": [{"to": "share"}]})  # fmt: skip
    site.put("box/SHA256SUMS", f"{right}  a.dat\n".encode())
    site.put("box/a.dat", b"bad")
    assert site.once() == 1
    assert site.delivered == {}
    lines = site.dropline("files", "--state", "refused", "--format", "json").json
    reasons = {Path(line["path"]).name: line["reason"] for line in lines}
    assert reasons.keys() == {"a.dat"}
    assert reasons["a.dat"].startswith(f"SHA256SUMS says sha256 {right}, the file has {wrong}; ")
    site.put("box/a.dat", b"good")
    site.dropline("retry")
    assert site.once() == 0
    assert site.delivered["deliveries/box/a.dat"] == b"good"
    assert site.explain("box/a.dat")[-1]["checksum"] == f"sha256:{right}"


def test_a_dataset_is_reclaimed_together_or_not_at_all(site: "Site") -> None:
    """One file with a writer keeps all; when it is closed, all go."""
    site.configure(run_rule(site))
    kept = site.put("run_1/a", b"x")
    site.put("run_1/done", b"")
    site.put("run_2/done", b"")
    assert site.once() == 0
    site.configure(run_rule(site, reclaim={"after": "0s"}))
    with kept.open("r+b"):
        assert site.dropline("reclaim").code == 0
        assert site.local == {"run_1/a": b"x", "run_1/done": b""}
        plan = site.dropline("reclaim", "--dry-run", "--format", "json").json
        assert [one["reclaim"] for one in plan] == [False, False]
    site.dropline("reclaim", "--dry-run")
    assert site.once() == 0
    assert site.local == {}


def test_a_supplement_on_its_way_keeps_the_dataset(site: "Site") -> None:
    """Nothing of a dataset is deleted while a part of it is not proved."""
    site.configure(run_rule(site, reclaim={"after": "7d"}))
    site.put("run_1/a", b"x")
    site.put("run_1/done", b"")
    assert site.once() == 0
    (site.inbox / "run_1/link").symlink_to("a")
    assert site.once() == 1
    site.configure(run_rule(site, reclaim={"after": "0s"}))
    assert site.once() == 1
    assert site.local.keys() == {"run_1/a", "run_1/done", "run_1/link"}
    (site.inbox / "run_1/link").unlink()
    assert site.once() == 0
    assert site.local == {}


def test_links_beside_the_data_keep_nothing_here_but_those_that_lead_out(site: "Site") -> None:
    """Where a rule delivers what they lead to, they are counted and skipped; else the dataset waits until the rule says so."""
    site.configure(run_rule(site, reclaim={"after": "7d"}, links=None))
    for run in "12":
        site.put(f"run_{run}/job2/a", b"x")
        site.put(f"run_{run}/done", b"")
        (site.inbox / f"run_{run}/job3").mkdir()
        (site.inbox / f"run_{run}/job3/a").symlink_to("../job2/a")
        (site.inbox / f"run_{run}/latest").symlink_to("job2")
    (site.inbox / "run_2/job3/frames").symlink_to("/scratch/frames")
    assert site.once() == 0
    assert site.status()["files"] == {"verified": 4}
    assert site.explain("run_1/job2/a")[-1]["dataset"]["links"] == 2
    why = 'it has links to what no rule delivers: write `links = "skip"` into rule r if they are no concern'
    example = f"{site.inbox}/run_2/job3/frames -> /scratch/frames"
    group = {"rule": "r", "dataset": "run_2", "directory": None, "links": 1, "examples": [example]}
    assert (site.status()["links"], site.status()["skipped_links"]) == ([group | {"reason": why}], {"r": 5})
    shown = site.dropline("status")
    assert (shown.code, f"run_2 (rule r): {why} ({example})" in shown.out) == (1, True)
    assert "5 links of rule r are skipped" in shown.out
    site.configure(run_rule(site, reclaim={"after": "0s"}, links=None))
    site.once()
    files = {"run_2/done", "run_2/job2/a"}
    assert {path for path, content in site.local.items() if isinstance(content, bytes)} == files
    site.configure(run_rule(site, reclaim={"after": "0s"}, links="skip"))
    assert site.once() == 0
    assert not any(isinstance(content, bytes) for content in site.local.values())
    assert site.dropline("status").code == 0


def test_links_of_a_plain_rule_that_lead_out_are_one_line_for_each_folder(site: "Site") -> None:
    """Named, with their number and what to do, and nothing waits for them; `explain` says where each leads."""
    site.configure(site.rule(links=None))
    site.put("a", b"x")
    (site.inbox / "good").symlink_to("a")
    for number in range(100):
        (site.inbox / f"link{number:02}").symlink_to("/scratch/frames")
    (site.inbox / "sub").mkdir()
    (site.inbox / "sub/nowhere").symlink_to("b")
    assert site.once() == 0
    why = 'it has links to what no rule delivers: write `links = "skip"` into rule r if they are no concern'
    assert site.status()["files"] == {"verified": 1}
    assert [(one["directory"], one["links"]) for one in site.status()["links"]] == [
        (str(site.inbox), 100),
        (f"{site.inbox}/sub", 1),
    ]
    shown = site.dropline("status")
    named = ", ".join(f"{site.inbox}/link0{number} -> /scratch/frames" for number in range(3))
    assert f"{site.inbox} (rule r): {why} ({named} and 97 more)\n" in shown.out
    assert (shown.code, "102 links of rule r are skipped" in shown.out) == (1, True)
    assert "beside it 101 links" in site.dropline("explain", site.inbox / "a").out
    said = {name: site.dropline("explain", site.inbox / name).out for name in ("good", "sub/nowhere")}
    assert "a symbolic link of rule r: skipped; what it leads to is delivered itself" in said["good"]
    assert f"no rule delivers what it leads to: {site.inbox}/sub/b; write `links = " in said["sub/nowhere"]
    site.configure(site.rule(links="skip"))
    assert (site.once(), site.dropline("status").code) == (0, 0)


def test_links_are_copied_as_they_are_written(site: "Site") -> None:
    """Beside their data, once; those that lead out, or whose name somebody else has there, are one line and keep the dataset."""
    keys = {"links": "copy", "reclaim": {"after": "7d"}}
    site.configure(run_rule(site, **keys))
    for name in ("job2/a", "done"):
        site.put(f"run_1/{name}", b"x")
    links = {"job3/a": "../job2/a", "latest": "job2", "nowhere": "none", "absolute": "/scratch", "out": "../../../x"}
    (site.inbox / "run_1/job3").mkdir()
    for name, target in links.items():
        (site.inbox / "run_1" / name).symlink_to(target)
    assert site.once() == 0
    there = {name: os.readlink(site.share / "run_1" / name) for name in ("job3/a", "latest", "nowhere")}
    assert there == {name: links[name] for name in there}
    assert not os.path.lexists(site.share / "run_1/absolute")
    assert not os.path.lexists(site.share / "run_1/out")
    said = site.status()
    assert said["copied_links"] == [{"rule": "r", "destination": "share", "links": 3}]
    (refused,) = said["refused_links"]
    assert (refused["directory"], refused["links"]) == (f"{site.inbox}/run_1", 2)
    assert site.dropline("status").code == 1
    assert "copied to share" in site.dropline("explain", site.inbox / "run_1/latest").out
    assert "not copied to share: it leads to /scratch" in site.dropline("explain", site.inbox / "run_1/absolute").out
    site.configure(run_rule(site, links="copy", reclaim={"after": "0s"}))
    site.once()
    assert site.local["run_1/job2/a"] == b"x"
    for name, target in (("absolute", "job2"), ("out", "done"), ("latest", "job3")):
        (site.inbox / "run_1" / name).unlink()
        (site.inbox / "run_1" / name).symlink_to(target)
    (site.share / "run_1/out").write_bytes(b"of somebody else")
    site.once()
    found = {name: os.readlink(site.share / "run_1" / name) for name in ("absolute", "latest")}
    assert found == {"absolute": "job2", "latest": "job3"}
    assert (site.share / "run_1/out").read_bytes() == b"of somebody else"
    (refused,) = site.status()["refused_links"]
    assert "is there already, and this agent did not make it; move it away there" in refused["reason"]
    (site.share / "run_1/out").unlink()
    site.dropline("retry")
    assert site.once() == 0
    assert os.readlink(site.share / "run_1/out") == "done"
    assert not any(isinstance(content, bytes) for content in site.local.values())
    assert site.dropline("status").code == 0


def test_the_marker_shows_after_the_links(site: "Site") -> None:
    """A program at the share that starts by it finds them."""
    site.configure(run_rule(site, links="copy"))
    for name in ("a", "b"):
        site.put(f"run_1/{name}", b"x")
    for number in range(250):
        (site.inbox / f"run_1/link{number:03}").symlink_to("a")
    site.put("run_1/done", b"")
    assert site.once() == 0
    run = site.share / "run_1"
    latest = max(os.lstat(run / f"link{number:03}").st_ctime_ns for number in range(250))
    assert latest < os.lstat(run / "done").st_ctime_ns


def test_trying_a_preset_writes_nothing_and_says_what_it_would_do(site: "Site") -> None:
    """Datasets, whether they are complete or why not, batches, paths."""
    old = time.time_ns() - 3600 * 10**9
    for name in (f"{RUN}/RunInfo.xml", f"{RUN}/CopyComplete.txt", f"{RUN}/RTAComplete.txt"):
        site.put(name, b"x", old)
    before = site.tree(site.root)
    (one,) = site.dropline("try", "illumina", site.inbox, "--format", "json").json
    assert site.tree(site.root).keys() - before.keys() <= {"out", "err"}
    assert (one["dataset"], one["complete"], one["files"], one["bytes"], one["batch"]) == (RUN, False, 3, 3, RUN)
    assert one["reason"].endswith("changed less than 10 min ago"), "its ctime is of just now, whatever its mtime says"
    assert one["path"] == f"{PLACE}/CopyComplete.txt"
    site.put("x.csv", b"x", old)
    (frame,) = site.dropline("try", "frames", site.inbox, "--format", "json").json or [None]
    assert frame is None


def test_init_offers_what_the_folder_looks_like(site: "Site") -> None:
    """A preset by the names that are there; what it writes is a good configuration."""
    for name in (f"{RUN}/RunInfo.xml", f"{RUN}/CopyComplete.txt", f"{RUN}/Data/s.bcl"):
        site.put(name, b"x")
    site.config.unlink()
    done = site.dropline("init", "--watch", site.inbox, "--to", site.share)
    assert done.code == 0
    assert "looks like illumina (Illumina sequencer runs)" in done.out
    assert tomllib.loads(site.config.read_text())["rules"][0]["preset"] == "illumina"
    assert site.dropline("check").code == 0


def test_simulate_tells_what_would_have_been_and_does_nothing(site: "Site") -> None:
    """A tree's own times through the rules: complete, sealed, sent, deleted, and what would still wait."""
    now = time.time()
    hour = 3600 * 10**9
    site.configure(run_rule(site, batch={}, reclaim={"after": "1h"}))
    site.put("run_1/a", b"x", round(now * 1e9) - 5 * hour)
    site.put("run_1/done", b"", round(now * 1e9) - 4 * hour)
    site.put("run_2/a", b"x", round(now * 1e9) - 3 * hour)
    site.put("run_3/done", b"", round(now * 1e9) - 60 * hour)
    found = site.dropline("simulate", site.config, site.inbox, "--since", "1d", "--format", "json").json
    told = [
        (one["what"], one["key"], sorted(one["files"]), round((now - one["at"]) / 3600)) for one in found["decisions"]
    ]
    whole = ["run_1/a", "run_1/done"]
    assert told == [
        ("complete", "run_1", whole, 4), ("sealed", "run_1", whole, 4), ("sent", "run_1", whole, 4),
        ("deleted", "run_1", whole, 3),
    ]  # fmt: skip
    assert found["waiting"] == [{"rule": "r", "dataset": "run_2", "reason": "waits: done is not there"}]
    assert site.delivered == {}
    assert not site.state.exists()
    assert "run_1 complete (2 files, 1 B)" in site.dropline("simulate", site.config, site.inbox).out


def test_the_demonstration_delivers_a_run_and_leaves_nothing(site: "Site") -> None:
    """An instrument writes, the agent delivers, all in a temporary folder."""
    done = site.dropline("demo", "--fast", environment={"TMPDIR": str(site.root)})
    assert done.code == 0, done.err
    assert "delivered 204 files as one dataset" in done.out
    assert "the camera's file is at share/camera/stack.raw\n" in done.out
    assert [name for name in os.listdir(site.root) if name.startswith("dropline-demo")] == []


def test_json_lines_of_files_name_the_dataset_in_their_reason(site: "Site") -> None:
    """What waits says for what."""
    site.configure(run_rule(site))
    site.put("run_1/a", b"x")
    assert site.once() == 1, "the run is left"
    (line,) = json.loads(site.dropline("files", "--format", "json").out)
    why = "it waits for the rest of its dataset; its dataset waits: done is not there"
    assert (line["state"], line["reason"]) == ("candidate", why)
