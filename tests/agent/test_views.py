"""The mark "safe to remove", and what the pages say of what waits or needs a person: on real folders and a real ledger."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from agent.app.configuration import read
from agent.app.run import once
from agent.cli import app as cli
from agent.files.posix.tree import PosixTree
from agent.files.tree import Listed
from agent.ledger import Ledger
from agent.observe import file_inspector
from agent.observe.file_inspector import FileInspector
from agent.observe.folder import compare
from agent.observe.status import Health, status
from agent.observe.web.views import Need, Row, Views
from rules.model import Verdict

NOW = 2_000_000_000.0
Look = Callable[..., Views]


def write(root: Path, *destinations: str, rule: str = "", verify: str = "checksum") -> Path:
    """A configuration with one rule that delivers `data` to all destinations."""
    places = "".join(f'[destinations.{name}]\npath = "{root / name}"\nverify = "{verify}"\n' for name in destinations)
    targets = ", ".join(f'{{ to = "{name}" }}' for name in destinations)
    for name in (*destinations, "data"):
        (root / name).mkdir(exist_ok=True)
    (root / "dropline.toml").write_text(
        f'[agent]\nstate_dir = "{root}/state"\nlisten = ""\n{places}[[rules]]\nname = "r"\nwatch = "{root}/data"\n'
        f'links = "refuse"\n'
        f'complete = {{ quiet = "0s" }}\nbatch = {{ linger = "0s" }}\ndeliver = [{targets}]\n{rule}'
    )
    return root / "dropline.toml"


def deliver(root: Path, **files: bytes) -> None:
    """Write files and run the agent until nothing moves."""
    for name, content in files.items():
        path = root / "data" / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    once(read(root / "dropline.toml"))


@pytest.fixture
def look(tmp_path: Path) -> Iterator[Look]:
    """Makes views of the state as it is, for the configuration as it is."""
    with ExitStack() as stack:

        def make(*problems: str) -> Views:
            config = read(tmp_path / "dropline.toml")
            ledger = Ledger(str(config.ledger))
            stack.callback(ledger.close)
            places = [(name, table.address) for name, table in config.settings.destinations.items()]

            def said() -> dict[str, Any]:
                return status(ledger, config.rules, places, {}, {})

            return Views(
                ledger,
                config.rules,
                places,
                [],
                said,
                lambda: Health(list(problems)),
                lambda: NOW,
                config.source,
                FileInspector(lambda: NOW, [rule.watch for rule in config.rules]),
            )

        yield make


def mark(views: Views, path: Path) -> Verdict:
    """Of a file."""
    page = views.file(str(path))
    assert page is not None
    verdict: Verdict = page["mark"]
    return verdict


def rows(views: Views) -> list[Row]:
    found: list[Row] = views.front("")["rows"]
    return found


def test_the_mark_is_only_for_the_very_version_that_is_here(tmp_path: Path, look: Look) -> None:
    """Another content, another time stamp, or no file: the mark is gone before any event or sweep is dealt with."""
    write(tmp_path, "share")
    deliver(tmp_path, a=b"first")
    path, views = tmp_path / "data/a", look()
    assert mark(views, path) == Verdict(True, "proved at share")
    path.touch()
    changed = Verdict(False, "not yet: it changed since it was proved; the agent looks at it again")
    assert mark(views, path) == changed
    path.write_bytes(b"other")
    assert mark(views, path) == changed
    folder = views.summary(rows(views)[0].summary.id)
    assert folder is not None
    assert [line.mark for line in folder["lines"]] == [changed]
    assert folder["row"].mark == Verdict(False, f"{changed.reason} (a)")
    path.unlink()
    assert mark(views, path) == Verdict(False, "not here any more")
    deliver(tmp_path)
    assert mark(views, path) == Verdict(False, "removed already, by somebody else")
    (row,) = rows(views)
    gone = Verdict(False, "removed already, by somebody else")
    assert (row.state, row.mark) == ("safe, removed by somebody else", gone)
    said = CliRunner().invoke(cli, ["status", "--config", str(tmp_path / "dropline.toml")]).output.splitlines()
    assert said[0].split() == ["removed", "1", "files", "5", "B", "by", "somebody", "else"]


def test_the_mark_needs_every_destination_as_it_is_configured_now(tmp_path: Path, look: Look) -> None:
    """One that was added since, or whose name moved to another place, has no proof."""
    write(tmp_path, "share")
    deliver(tmp_path, a=b"x")
    assert rows(look())[0].mark.ok
    write(tmp_path, "share", "mirror")
    (row,) = rows(look())
    assert row.mark == Verdict(False, "not yet: at mirror, 0 of 1 are proved")
    assert mark(look(), tmp_path / "data/a") == row.mark
    assert [(one.destination, one.proved, one.of) for one in row.copies] == [("share", 1, 1), ("mirror", 0, 1)]
    moved = write(tmp_path, "share")
    moved.write_text(moved.read_text().replace(f'"{tmp_path}/share"', f'"{tmp_path}/share/sub"'))
    assert rows(look())[0].mark == Verdict(False, "not yet: at share, 0 of 1 are proved")


def test_size_and_mtime_alone_are_no_proof_unless_the_rule_says_so(tmp_path: Path, look: Look) -> None:
    """As for the agent's own deletions."""
    write(tmp_path, "share", verify="size")
    deliver(tmp_path, a=b"x")
    ledger = Ledger(str(tmp_path / "state/ledger.sqlite"))
    with ledger.transaction():
        ledger.execute("UPDATE copies SET algorithm = 'stat', checksum = CAST('stat:1:1' AS BLOB)")
        ledger.execute("UPDATE summary_copies SET weak = here")
    ledger.close()
    no = Verdict(False, "not yet: at share, only size and mtime were compared")
    assert (rows(look())[0].mark, mark(look(), tmp_path / "data/a")) == (no, no)
    write(tmp_path, "share", verify="size", rule='reclaim = { evidence = "stat", after = "7d" }\n')
    yes = Verdict(True, "proved at share")
    assert (rows(look())[0].mark, mark(look(), tmp_path / "data/a")) == (yes, yes)


def test_a_folder_is_not_marked_while_something_below_it_is_not_safe(tmp_path: Path, look: Look) -> None:
    """Whoever removes the folder removes that, too."""
    write(tmp_path, "share")
    (tmp_path / "data/run/sub").mkdir(parents=True)
    (tmp_path / "data/run/sub/link").symlink_to("/nowhere")
    deliver(tmp_path, run__a=b"x", other=b"y")
    assert {row.name: row.mark.ok for row in rows(look())} == {"run/sub": False, "run": False, "data": False}
    (tmp_path / "data/run/sub/link").unlink()
    deliver(tmp_path)
    states = {row.name: (row.mark.ok, row.state) for row in rows(look())}
    assert states == {
        "run": (True, "safe"), "data": (True, "safe"), "run/sub": (False, "gone before it was delivered"),
    }  # fmt: skip


def folder_mark(views: Views, name: str) -> Verdict:
    """What the page of a folder says, which looks at it."""
    (row,) = (one for one in rows(views) if one.name == name)
    page = views.summary(row.summary.id)
    assert page is not None
    verdict: Verdict = page["row"].mark
    return verdict


def test_a_folder_is_safe_to_remove_but_for_what_no_rule_delivers(tmp_path: Path, look: Look) -> None:
    """Excluded and unclaimed files, links, special files and empty folders in it or below it: whoever removes it removes those."""
    write(tmp_path, "share", rule="include = ['**/*.dat']\nexclude = ['**/*.part']\n")
    run = tmp_path / "data/run"
    run.mkdir()
    (run / "a.dat").write_bytes(b"x")
    deliver(tmp_path)
    (run / ".dropline-canary").touch()
    assert folder_mark(look(), "run") == Verdict(True, "proved at share")
    (run / "b.part").touch()
    assert folder_mark(look(), "run") == Verdict(False, "safe, but for 1 file that no rule delivers: b.part")
    (run / "notes.txt").touch()
    (run / "sub").mkdir()
    os.mkfifo(run / "sub/fifo")
    (run / "sub/link").symlink_to("a.dat")
    said = "safe, but for 4 files that no rule delivers: b.part, notes.txt, sub/fifo and 1 more"
    assert folder_mark(look(), "run") == Verdict(False, said)
    (run / "empty").mkdir()
    (run / "empty/below").mkdir()
    said = "safe, but for 5 files and folders that no rule delivers: b.part, empty/below/, notes.txt and 2 more"
    assert folder_mark(look(), "run") == Verdict(False, said)
    for name in ("b.part", "notes.txt", "sub/fifo", "sub/link"):
        (run / name).unlink()
    said = "safe, but for 2 folders that no rule delivers: empty/below/, sub/"
    assert folder_mark(look(), "run") == Verdict(False, said)
    shutil.rmtree(run / "empty")
    (run / "sub/.dropline-destination").touch()
    (run / "sub/copies").mkdir()
    (run / "sub/copies/a.dat").touch()
    assert folder_mark(look(), "run") == Verdict(False, "safe, but for 1 folder that no rule delivers: sub/")


def test_a_folder_that_a_rule_excludes_is_one_entry(
    tmp_path: Path, look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not looked into: neither what is in it counts, nor that the agent may not list it; its own page says so."""
    write(tmp_path, "share")
    deliver(tmp_path, run__a=b"x", run__old__b=b"y")
    write(tmp_path, "share", rule="exclude = ['lost+found/', 'old/']\n")
    (tmp_path / "data/run/lost+found/deep").mkdir(parents=True)
    (tmp_path / "data/run/lost+found/deep/c").touch()
    (tmp_path / "data/run/only/lost+found").mkdir(parents=True)
    deliver(tmp_path)
    scan = PosixTree.scan

    def scanned(tree: PosixTree, path: str, most: int) -> Iterator[Listed]:
        assert "lost+found" not in path
        return scan(tree, path, most)

    monkeypatch.setattr(PosixTree, "scan", scanned)
    words = "(excluded folder, not looked into)"
    said = f"safe, but for 3 folders that no rule delivers: lost+found/ {words}, old/ {words}, only/lost+found/ {words}"
    assert folder_mark(look(), "run") == Verdict(False, said)
    assert folder_mark(look(), "run/old") == Verdict(False, "excluded folder, not looked into")


def test_a_folder_is_not_safe_while_something_in_it_is_new_or_changed(tmp_path: Path, look: Look) -> None:
    """The page lists the folder itself: no event or sweep need have come by."""
    write(tmp_path, "share")
    deliver(tmp_path, run__a=b"x", run__sub__b=b"y")
    assert folder_mark(look(), "run") == Verdict(True, "proved at share")
    (tmp_path / "data/run/sub/c").write_bytes(b"z")
    assert folder_mark(look(), "run") == Verdict(False, "not yet: the agent has not taken it up yet: sub/c")
    (tmp_path / "data/run/sub/b").write_bytes(b"more")
    assert folder_mark(look(), "run") == Verdict(False, "not yet: changed since it was proved: sub/b")


def test_of_a_folder_that_cannot_be_looked_at_as_a_whole_nothing_is_said(
    tmp_path: Path, look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too many entries for a page, or a folder that is not there any more."""
    write(tmp_path, "share")
    deliver(tmp_path, run__a=b"x", run__b=b"y")
    monkeypatch.setattr(file_inspector, "ENTRIES", 2)
    assert folder_mark(look(), "run") == Verdict(False, "cannot tell: there are more entries than a page looks at")
    monkeypatch.undo()
    shutil.rmtree(tmp_path / "data/run")
    assert folder_mark(look(), "run").reason == "not here any more (b)"
    gone = file_inspector.contents(str(tmp_path / "data"), str(tmp_path / "data/run"), 10)
    ledger = Ledger(":memory:")
    assert compare(ledger, [], str(tmp_path / "data/run"), gone).unseen == "the folder is not there"
    ledger.close()


def test_what_needs_a_person_is_told_by_its_reason_with_the_command(tmp_path: Path, look: Look) -> None:
    """Files that are refused for one reason are one thing; so is each problem of the agent, and a destination that is down."""
    config = write(tmp_path, "share")
    for number in range(5):
        (tmp_path / f"data/link {number}").symlink_to("/nowhere")
    deliver(tmp_path)
    (tmp_path / "share/.dropline-destination").unlink()
    deliver(tmp_path, late=b"x")
    front = look("thread intake is dead").front("")
    trouble, down, refused = front["needs"]
    assert trouble == Need("The agent is not well", "thread intake is dead")
    assert down.what == "Destination share is down"
    assert refused == Need(
        "5 files are not delivered",
        "a link, not a file; the file it points to travels if it is watched itself; exclude the link",
        f"dropline retry --config {config}",
        tuple(str(tmp_path / f"data/link {number}") for number in (0, 1, 2)),
        2,
    )
    assert front["headline"].text == "3 things need you"
    (row,) = front["rows"]
    assert row.reason == "to share: failed: it is down" or row.reason.startswith("to share: pending")


def test_files_that_are_refused_for_one_cause_are_one_thing(tmp_path: Path, look: Look) -> None:
    """Though each reason names its own file: other content is there under their names."""
    write(tmp_path, "share")
    deliver(tmp_path)
    for number in range(40):
        (tmp_path / f"share/scan_{number}.h5").write_bytes(b"of somebody else")
    deliver(tmp_path, **{f"scan_{number}.h5": b"mine" for number in range(40)})
    (need,) = look().front("")["needs"]
    assert (need.what, need.more) == ("40 files are not delivered", 37)
    assert "is there already, with other content" in need.why


def test_a_copy_that_is_not_what_was_delivered_is_told(tmp_path: Path, look: Look) -> None:
    """What `dropline verify` found at a destination needs a person, and names the file that it is the copy of."""
    config = write(tmp_path, "share")
    deliver(tmp_path, scan=b"x")
    (tmp_path / "share/scan").write_bytes(b"y")
    assert CliRunner().invoke(cli, ["verify", "share", "--config", str(config)]).exit_code == 1
    (need,) = look().front("")["needs"]
    assert (need.what, need.command, need.files, need.more) == (
        "1 copy at share is changed", f"dropline verify --config {config} share", (str(tmp_path / "data/scan"),), 0
    )  # fmt: skip
    assert "has other content than was delivered" in need.why


def test_search_shows_a_file_by_its_whole_path_or_a_part_of_it(tmp_path: Path, look: Look) -> None:
    """Folder and name together narrow it down."""
    write(tmp_path, "share")
    deliver(tmp_path, run_1__scan=b"x", run_2__scan=b"y")
    views = look()

    def found(text: str) -> tuple[list[str], list[str]]:
        told = views.front(text)["found"]
        return [row.name for row in told["rows"]], sorted(line.name for line in told["lines"])

    assert found("scan") == ([], ["run_1/scan", "run_2/scan"])
    assert found("run_2/scan") == ([], ["run_2/scan"])
    assert found(str(tmp_path / "data/run_1/scan")) == ([], ["run_1/scan"])
    assert found("RUN_1") == (["run_1"], [])
    assert found("nothing") == ([], [])


def test_a_dataset_that_is_no_directory_tells_why_it_waits_and_lets_go(tmp_path: Path, look: Look) -> None:
    """Its files are told as its rule sees them; the command completes it by hand."""
    config = write(
        tmp_path,
        "share",
        rule="dataset = { group = '(?P<run>run_[0-9]+)_' }\ncomplete.require = [{ has = '*.done' }]\n",
    )
    config.write_text(config.read_text().replace('complete = { quiet = "0s" }\n', 'complete.quiet = "0s"\n'))
    deliver(tmp_path, run_7_a=b"x", run_7_b=b"y")
    (row,) = rows(look())
    assert (row.state, row.mark) == ("waits for its instrument", Verdict(False, "not yet: 2 files are on the way"))
    page = look().summary(row.summary.id)
    assert page is not None
    assert (sorted(line.name for line in page["lines"]), row.reason) == (
        ["run_7_a", "run_7_b"], "no *.done has come",
    )  # fmt: skip
    assert page["base"] == str(tmp_path / "data")
    assert page["complete"] == f"dropline complete --config {config} {row.name}"
