"""When is a dataset complete? Each condition by itself."""

import hashlib
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.config.config_error import RuleError
from rules.datasets.conditions import decide, released
from rules.datasets.facts import Reading, judge
from rules.datasets.membership import Dataset
from rules.datasets.question import Answer, Facts, Found, Member, Mismatch
from rules.formats import Finding
from rules.model import Verdict
from rules.patterns.glob import Names
from rules.rule import Conditions, Rule
from tests import configured

NOW = 1_000_000.0
FIELDS = {"name": "run_1", "stem": "run_1"}


def rule(require: Sequence[dict[str, Any]], dataset: dict[str, Any] | None = None, **complete: Any) -> Rule:
    """A rule with these conditions, as the configuration makes it."""
    table = {
        "name": "r", "watch": "/data", "deliver": [{"to": "share"}],
        "dataset": {"dir": "run_[0-9]+/"} if dataset is None else dataset, "complete": {"require": require, **complete},
    }  # fmt: skip
    return configured.rule(table)


class Files:
    """A dataset's files in memory."""

    def __init__(self, files: dict[str, bytes], writing: Sequence[str] = ()) -> None:
        self.files = files
        self.writing = writing

    def names(self, directory: str) -> Names:
        prefix = f"{directory}/" if directory else ""
        return Names({path[len(prefix) :].split("/")[0] for path in self.files if path.startswith(prefix)})

    def size(self, path: str) -> int | None:
        return len(self.files[path]) if path in self.files and path not in self.writing else None

    def read(self, path: str, offset: int, length: int) -> bytes:
        return self.files[path][offset : offset + length]

    def answer(self, path: str, found: Found, key: Hashable, reading: Reading) -> Answer | Found:
        text = self.files[path].decode("utf-8", "surrogateescape")
        blocks = (text[at : at + 7] for at in range(0, len(text), 7))
        return next(one for one in reading(blocks) if one is not None)

    def sums(self, wanted: Sequence[tuple[str, str]]) -> list[str]:
        return [hashlib.new(algorithm, self.files[path]).hexdigest() for algorithm, path in wanted]


def looks(_: tuple[str, ...], wanted: Sequence[Callable[[], Finding]]) -> list[Finding]:
    """All at once."""
    return [one() for one in wanted]


def ask(
    require: Sequence[dict[str, Any]],
    files: dict[str, bytes],
    *,
    changed_at: float = NOW - 60.0,
    generation: int = 1,
    outside: dict[str, bytes] | None = None,
    **complete: Any,
) -> Verdict | Mismatch:
    """The verdict on the dataset run_1/ with these files in it, and others beside it."""
    disk = Files({f"run_1/{name}": content for name, content in files.items()} | (outside or {}))
    answer, _ = judge(
        rule(require, **complete).complete, Dataset("run_1", "run_1", FIELDS, whole=True),
        Facts(FIELDS, generation=generation), disk, disk.sums, looks,
        lambda: [(f"run_1/{name}", len(content), True) for name, content in files.items()], lambda: changed_at, NOW,
    )  # fmt: skip
    return answer


MD5 = hashlib.md5(b"x", usedforsecurity=False).hexdigest()
OTHER = hashlib.md5(b"y", usedforsecurity=False).hexdigest()
CLOSED = bytes.fromhex(
    "894844460d0a1a0a030808000000000000000000ffffffffffffffff3000000000000000300000000000000000000000"
)
KILLED = CLOSED[:11] + b"\x01" + CLOSED[12:]


@pytest.mark.parametrize(
    ("condition", "files", "verdict"),
    [
        ({"marker": "done.txt"}, {"a": b"x"}, Verdict(False, "done.txt is not there")),
        ({"marker": "done.txt"}, {"done.txt": b""}, Verdict(True, "done.txt is there")),
        ({"marker": "{name}.done"}, {"run_1.done": b""}, Verdict(True, "run_1.done is there")),
        ({"marker": "meta/*.done"}, {"meta/a.done": b""}, Verdict(True, "meta/a.done is there")),
        ({"marker": "done.txt", "min_size": 2}, {"done.txt": b"x"}, Verdict(False, "done.txt has 1 bytes")),
        (
            {"marker": "s.txt", "contains": "stopped=."}, {"s.txt": b"stopped="},
            Verdict(False, "s.txt does not say 'stopped=.'"),
        ),
        ({"marker": "s.txt", "contains": "stopped=."}, {"s.txt": b"stopped=1"}, Verdict(True, "s.txt is there")),
        ({"gone": "*.lock"}, {"a.lock": b""}, Verdict(False, "a.lock is there")),
        ({"gone": "*.lock"}, {"a": b""}, Verdict(True, "")),
        (
            {"gone": "s.xml", "contains": "Errored"}, {"s.xml": b"RunErrored"},
            Verdict(False, "s.xml is there, and says 'Errored'"),
        ),
        ({"has": "*.xml"}, {"a.tif": b""}, Verdict(False, "no *.xml has come")),
        ({"has": "*.tif", "at_least": 2}, {"a.tif": b""}, Verdict(False, "1 of 2 *.tif have come")),
        ({"has": "*.tif"}, {"deep/below/a.tif": b""}, Verdict(True, "")),
        ({"has": "/fid"}, {"deep/fid": b""}, Verdict(False, "no /fid has come")),
        ({"without": "*-wal", "min_size": 1}, {"a-wal": b"x"}, Verdict(False, "a-wal has 1 bytes")),
        ({"without": "*-wal", "min_size": 1}, {"a-wal": b""}, Verdict(True, "")),
        (
            {"count": "*.tif", "file": "n.xml", "find": "n=(\\d+)"}, {"a.tif": b"", "n.xml": b"n=2"},
            Verdict(False, "1 of 2 *.tif have come"),
        ),
        (
            {"count": "*.tif", "file": "n.xml", "find": "n=(\\d+)"}, {"a.tif": b"", "n.xml": b"n=1"},
            Verdict(True, "1 of 1 *.tif"),
        ),
        (
            {"count": "*.tif", "file": "n.xml", "find": "n=(\\d+)"}, {"n.xml": b"?"},
            Verdict(False, "n.xml does not say how many *.tif there are"),
        ),
        (
            {"count": "*.tif", "file": "n.xml", "find": "n=(\\d+)"}, {"n.xml": b"n=" + b"1" * 5_000},
            Verdict(False, "n.xml does not say how many *.tif there are"),
        ),
        (
            {"count": "*.tif", "file": "n.xml", "find": "n=(\\d+)"}, {},
            Verdict(False, "n.xml, which says how many files there are, is not there"),
        ),
        (
            {"count": "*.tif", "file": "*.txt", "find": "_(\\d+)images", "in_name": True}, {"a_3images.txt": b""},
            Verdict(False, "0 of 3 *.tif have come"),
        ),
        (
            {"count": "*.tif", "file": "a.mdoc", "find": "\\[ZValue"}, {"a.mdoc": b"[ZValue = 0] [ZValue = 1]"},
            Verdict(False, "0 of 2 *.tif have come"),
        ),
        (
            {"count": "*.h5", "file": "m", "find": "d_\\d", "distinct": True}, {"m": b"d_1 d_1", "d_1.h5": b""},
            Verdict(True, "1 of 1 *.h5"),
        ),
        (
            {"listed": "list", "find": "(?m)^f (.+)$"}, {"list": b"f s/a\nf b\n", "deep/s/a": b""},
            Verdict(False, "b has not come (1 of 2 listed files are missing)"),
        ),
        (
            {"listed": "list", "find": "(?m)^f (.+)$"}, {"list": b"f s\\a\n", "s/a": b""},
            Verdict(True, "all 1 files that list lists are there"),
        ),
        ({"listed": "list", "find": "(?m)^f (.+)$"}, {"list": b"?"}, Verdict(False, "list lists no files")),
        ({"listed": "list", "find": "x"}, {}, Verdict(False, "list, which lists the files, is not there")),
        ({"manifest": "md5sum.txt"}, {}, Verdict(False, "md5sum.txt is not there")),
        (
            {"manifest": "md5sum.txt"}, {"md5sum.txt": f"{MD5}  a".encode()},
            Verdict(False, "md5sum.txt ends in the middle of a line"),
        ),
        (
            {"manifest": "md5sum.txt"}, {"md5sum.txt": f"{MD5}  a\n".encode()},
            Verdict(False, "a has not come (1 of 1 files of md5sum.txt are missing)"),
        ),
        ({"manifest": "md5sum.txt"}, {"md5sum.txt": b"\n# nothing\n"}, Verdict(False, "md5sum.txt lists nothing")),
        (
            {"manifest": "md5sum.txt"}, {"md5sum.txt": f"{MD5}  a\n{OTHER}  a\n".encode(), "a": b"x"},
            Verdict(False, "md5sum.txt says two checksums of a"),
        ),
        (
            {"manifest": "h.csv", "columns": ["path", "sum"]}, {"h.csv": b'path,sum\n"' + b"a\n" * 70_000},
            Verdict(False, "h.csv is no CSV: field larger than field limit (131072)"),
        ),
        (
            {"manifest": "md5sum.txt"}, {"md5sum.txt": f"{MD5}  a\n".encode(), "a": b"x"},
            Verdict(True, "all 1 checksums of md5sum.txt are right"),
        ),
        (
            {"manifest": "sub/md5sum.txt"}, {"sub/md5sum.txt": f"{MD5} *b/a\n".encode(), "sub/b/a": b"x"},
            Verdict(True, "all 1 checksums of sub/md5sum.txt are right"),
        ),
        (
            {"manifest": "md5sum.txt"}, {"md5sum.txt": f"{OTHER}  a\n".encode(), "a": b"x"},
            Mismatch(
                f"a: md5sum.txt says md5 {OTHER}, the file has {MD5}",
                {"a": f"md5sum.txt says md5 {OTHER}, the file has {MD5}"},
            ),
        ),
        (
            {"manifest": "m.txt", "payload": "/data/**"},
            {"m.txt": f"{MD5}  data/a\n".encode(), "data/a": b"x", "data/b": b"x"},
            Verdict(False, "data/b is in no list (1 such files)"),
        ),
        (
            {"manifest": "h.csv", "columns": ["path", "sum"]}, {"h.csv": f"id,path,sum\n1,a,{MD5}\n".encode(), "a": b"x"},
            Verdict(True, "all 1 checksums of h.csv are right"),
        ),
        ({"format": "hdf5", "of": "*.h5"}, {"a.h5": CLOSED}, Verdict(True, "")),
        (
            {"format": "any"}, {"a.h5": KILLED, "b.txt": b"x"},
            Verdict(False, "a.h5 is marked as open for writing: its writer is at work, or was killed"),
        ),
        ({"format": "hdf5", "of": "*.h5"}, {"a.h5": b"no such thing"}, Verdict(True, "")),
        ({"quiet": "60s"}, {"a": b""}, Verdict(True, "unchanged for 1 min")),
        ({"quiet": "61s"}, {"a": b""}, Verdict(False, "a file of it changed less than 1.02 min ago", NOW + 1.0)),
        (
            {"any": [{"marker": "done"}, {"quiet": "61s"}]}, {"a": b""},
            Verdict(False, "done is not there, and a file of it changed less than 1.02 min ago", NOW + 1.0),
        ),
        ({"any": [{"marker": "done"}, {"quiet": "60s"}]}, {"a": b""}, Verdict(True, "unchanged for 1 min")),
        ({"any": [{"marker": "done"}, {"quiet": "60s", "flag": "no done"}]}, {"a": b""}, Verdict(True, "incomplete: no done")),
        ({"all": [{"marker": "done"}, {"marker": "more"}]}, {"done": b""}, Verdict(False, "more is not there")),
        ({"has": "*.scan", "when": "*.wiff"}, {"a.raw": b""}, Verdict(True, "")),
        ({"has": "*.scan", "when": "*.wiff"}, {"a.wiff": b""}, Verdict(False, "no *.scan has come")),
    ],
)  # fmt: skip
def test_a_condition(condition: dict[str, Any], files: dict[str, bytes], verdict: Verdict | Mismatch) -> None:
    """One condition, the files of a dataset, the verdict with its reason."""
    assert ask([condition], files) == verdict


def test_a_marker_may_be_beside_the_dataset() -> None:
    """`..` leads out of it, once."""
    assert ask([{"marker": "../{name}.done"}], {"a": b""}, outside={"run_1.done": b""}) == Verdict(
        True, "../run_1.done is there"
    )
    assert (
        ask([{"marker": "../{name}.done"}], {"a": b""}, outside={"run_2.done": b""}).reason
        == "../run_1.done is not there"
    )


def test_a_pattern_that_matches_too_many_files_decides_nothing() -> None:
    """They are not all looked at, and which of them counts cannot be told."""
    files = {f"{number}.done": b"" for number in range(1_001)}
    for kind in ("marker", "gone"):
        assert ask([{kind: "*.done"}], files) == Verdict(False, "more than 1,000 files are there for *.done")


def test_a_marker_that_is_still_being_written_is_not_there() -> None:
    """The file that says that all is done must be done itself."""
    disk = Files({"run_1/done": b"x"}, writing=["run_1/done"])
    conditions = rule([{"marker": "done"}]).complete
    dataset = Dataset("run_1", "run_1", FIELDS, whole=True)
    answer, _ = judge(conditions, dataset, Facts(FIELDS), disk, disk.sums, looks, list, lambda: NOW, NOW)
    assert answer == Verdict(False, "done is not there")


def test_patience_ends_every_waiting_and_says_so() -> None:
    """What is missing is named in the reason."""
    wanted = "incomplete: done is not there; but unchanged for 1 min (patience)"
    assert ask([{"marker": "done"}], {"a": b""}, patience="60s") == Verdict(True, wanted)
    assert ask([{"marker": "done"}], {"a": b""}, patience="61s") == Verdict(False, "done is not there", NOW + 1.0)


def test_a_mismatch_is_not_a_matter_of_patience() -> None:
    """Wrong data does not become right by waiting."""
    files = {"md5sum.txt": f"{OTHER}  a\n".encode(), "a": b"x"}
    assert isinstance(ask([{"manifest": "md5sum.txt"}], files, patience="1s"), Mismatch)


def test_a_supplement_does_not_wait_for_what_has_been_true() -> None:
    """Markers and lists may be reclaimed by then; what the files say themselves counts for each."""
    require = [{"marker": "done"}, {"count": "*", "file": "n", "find": "1"}, {"quiet": "1d"}]
    assert ask(require, {"late": b""}, generation=2) == Verdict(True, "")
    assert not ask([{"format": "any"}], {"late.h5": KILLED}, generation=2).ok  # type: ignore[union-attr]


def test_a_person_may_release_it_with_what_it_waited_for() -> None:
    """The reason keeps both."""
    facts = Facts(FIELDS, found={"done": ()}, members=(Member("a", 1),))
    conditions = rule([{"marker": "done"}], patience="1d").complete
    said = "incomplete: a person said it is complete; it waited for this: done is not there"
    assert released(conditions, facts, NOW) == said


@given(st.lists(st.booleans(), max_size=5), st.lists(st.booleans(), min_size=1, max_size=5))
def test_all_and_any(every: list[bool], some: list[bool]) -> None:
    """All conditions of `require` must hold, and of `any` one."""
    names = {True: "there", False: "missing"}
    require: list[dict[str, Any]] = [{"has": names[one]} for one in every]
    require.append({"any": [{"has": names[one]} for one in some]})
    verdict = ask(require, {"there": b""})
    assert isinstance(verdict, Verdict)
    assert verdict.ok == (all(every) and any(some))


def test_nothing_is_asked_that_the_verdict_does_not_need() -> None:
    """A marker that is not there spares the reading of everything else."""
    conditions = rule([{"marker": "done"}, {"manifest": "md5sum.txt"}]).complete
    assert decide(conditions, Facts(FIELDS, found={"done": ()}), NOW) == Verdict(False, "done is not there")


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ({}, ": write a table with exactly one of all, any"),
        ({"marker": "a", "has": "b"}, ": write a table with exactly one of all, any"),
        (
            {"marker": "a", "find": "b"},
            ".find: unknown key; known are contains, flag, marker, max_size, min_size, when",
        ),
        ({"count": "a", "find": "b"}, ".file: missing; this key is required"),
        ({"format": "jpeg"}, ".format: 'jpeg' is none of any, audita"),
    ],
)
def test_a_condition_that_makes_no_sense(condition: dict[str, Any], message: str) -> None:
    """Mistakes that one condition shows by itself."""
    with pytest.raises(RuleError) as caught:
        rule([condition])
    assert str(caught.value).startswith(f"f.toml: [[rules]] 'r': complete.require.0{message}")


@pytest.mark.parametrize(
    ("require", "dataset", "message"),
    [
        ([{"any": []}], None, "complete.require.0.any: Tuple should have at least 1 item"),
        ([{"marker": "a/**"}], None, "complete.require.0.marker: 'a/**' is to be relative to the dataset's directory"),
        ([{"marker": "a/../b"}], None, "complete.require.0.marker: 'a/../b' is to be relative"),
        (
            [{"marker": "{run}"}],
            None,
            "complete.require.0.marker: '{run}' has an unknown field {run}; known are {name}, {stem}",
        ),
        (
            [{"all": [{"has": "a", "when": "{x}"}]}],
            None,
            "complete.require.0.all.0.when: '{x}' has an unknown field {x}",
        ),
        (
            [{"marker": "a", "contains": "("}],
            None,
            "complete.require.0.contains: the regular expression does not compile",
        ),
        ([], {}, "dataset: write exactly one of `dir` and `group`"),
        ([], {"dir": "a/", "group": "(?P<x>b)"}, "dataset: write exactly one of `dir` and `group`"),
        ([], {"dir": "("}, "dataset.dir: the regular expression does not compile"),
        ([], {"group": "x"}, "dataset.group.0: 'x' has no named groups"),
        ([], {"group": "(?P<stem>x)"}, "dataset: the group name 'stem' is taken by a template field"),
    ],
)
def test_a_rule_whose_datasets_make_no_sense(
    require: list[dict[str, Any]], dataset: dict[str, Any] | None, message: str
) -> None:
    """One line: file, table, key, what is wrong."""
    with pytest.raises(RuleError) as caught:
        rule(require, dataset)
    assert str(caught.value).startswith(f"f.toml: [[rules]] 'r': {message}")


def test_a_marker_for_single_files_is_no_marker_of_a_dataset() -> None:
    """`complete.marker` is about one file."""
    with pytest.raises(RuleError, match=r"complete.marker: is for files by themselves"):
        rule([], marker="*.done")


def test_a_rule_without_datasets_batches_none() -> None:
    """`batch.by = "dataset"` wants them."""
    table = {"name": "r", "watch": "/data", "batch": {"by": "dataset"}, "deliver": [{"to": "share"}]}
    with pytest.raises(RuleError, match=r"batch.by: 'dataset' wants a `dataset`"):
        configured.rule(table)


def test_conditions_without_datasets_are_none() -> None:
    """The usual rule has no datasets, and costs nothing of this."""
    assert Rule("r", "/data").whole is False
    assert Rule("r", "/data", complete=Conditions(quiet=1.0)).whole is False
