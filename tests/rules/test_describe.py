"""What a rule will do, in words."""

import pytest

from rules.actions import Command, Flow, Share, Webhook
from rules.config.describe import describe
from rules.patterns.partial import WORDS
from rules.rule import Conditions, Reclaim, Rule, Sealing, Target
from tests import configured

SKIPS = f"skips partial files of other programs: {WORDS}"


def test_the_least_rule() -> None:
    """A rule with defaults only says what the defaults do."""
    assert describe(Rule("r", "/data", deliver=(Target("share"),))) == [
        "watches /data for **",
        "takes a file as complete when no process has it open for writing and it has not changed for 500 ms"
        " (1 min where open writers cannot be seen)",
        "batches files of one directory, sealed as soon as they are complete, at 500 files or at 50 GB",
        "delivers each batch to share as {relpath}",
        SKIPS,
        "keeps the local files for ever",
    ]


def test_a_rule_with_everything() -> None:
    """Each key that is set shows in the words."""
    rule = Rule(
        "r",
        "/data",
        include=("*.h5", "raw/"),
        exclude=("*.tmp", "scratch/"),
        complete=Conditions(quiet=10.0, marker="{stem}.done", patience=21600.0, min_size=1500),
        batch=Sealing(by="{run}", max_files=7, max_bytes=2**32, schedule="30 3 * * *"),
        deliver=(Target("share", "{rule}/{relpath}"), Target("mirror")),
        reclaim=Reclaim(after=604800.0, when_free_below=0.125, trash=259200.0, empty_dirs=True),
    )
    assert describe(rule) == [
        "watches /data for *.h5, raw/, but not *.tmp, scratch/",
        "takes a file as complete when no process has it open for writing and it has not changed for 10 s"
        " (20 s where open writers cannot be seen), and a file '{stem}.done' is beside it (waits 6 h for that),"
        " and it has 1.5 kB or more",
        "batches files with the same {run}, 7 files and 4.29 GB at the most, sealed at '30 3 * * *'",
        "delivers each batch to share as {rule}/{relpath}",
        "delivers each batch to mirror as {relpath}",
        SKIPS,
        "moves local files to the trash (for 3 d) 7 d after they are proved at every destination,"
        " once they have not changed for 1 min;"
        " deletes the oldest proved local files, and none else, while less than 12.5% of the disk is free;"
        " removes directories left empty and unused",
    ]


def test_a_rule_with_datasets() -> None:
    """What belongs together, what must be true of it, and what becomes of the rest."""
    table = {
        "name": "r", "watch": "/data", "deliver": [{"to": "share"}], "dataset": {"dir": "run_[0-9]+/"},
        "complete": {"quiet": "10s", "require": [
            {"any": [{"all": [{"marker": "a", "contains": "x"}, {"has": "*.h5", "at_least": 2}]},
                     {"quiet": "6h", "flag": "no a"}]},
            {"gone": "*.part"}, {"without": "*-wal", "min_size": 1}, {"format": "hdf5", "when": "*.h5"},
            {"count": "*.tif", "file": "n", "find": "([0-9])"}, {"listed": "l", "find": "f"}, {"manifest": "m"},
        ]},
    }  # fmt: skip
    made = configured.rule(table)
    assert describe(made) == [
        "watches /data for **",
        "takes each folder run_[0-9]+/ with everything below it as one dataset",
        "takes a file as settled when no process has it open for writing and it has not changed for 10 s"
        " (20 s where open writers cannot be seen)",
        "takes a dataset as complete when all its files have settled, and one of these: (a that says 'x' is there and"
        " 2 files *.h5 have come), or (nothing of it has changed for 6 h (then marked incomplete: no a)), and no *.part is"
        " there, and it has no file *-wal of 1 bytes or more, and if there is a *.h5: no file ** says by its own content"
        " that it is unfinished (hdf5), and as many *.tif have come as n says ('([0-9])'), and every file that l lists"
        " ('f') has come, and every file in the checksum list m has come and has its checksum",
        "what does not become complete is held until `dropline complete`",
        "files that come or change afterwards travel as a supplement",
        "batches the files of a dataset, and of no other, together",
        "delivers each batch to share as {relpath}",
        "delivers a, m of a dataset last, to each destination when all its other files are there (`dropline complete` sends"
        " them without a file that is refused)",
        SKIPS,
        "keeps the local files for ever",
    ]


def test_what_is_done_for_verified_batches() -> None:
    """One sentence an action; the parts of addresses that may be secrets are not told."""
    flow = "11111111-2222-3333-4444-555555555555"
    rule = Rule(
        "r",
        "/data",
        then=(
            Webhook("https://example.org/secret", "/etc/hook.secret", "X-Key"),
            Webhook("http://example.org"),
            Command(("/opt/after", "a b"), 60.0),
            Flow(flow),
            Flow(flow, {"a": "{folder}"}),
        ),
        share_with=(Share("identity", "ada@example.org"), Share("group", flow)),
    )
    assert [
        line.removeprefix("then, for each verified batch, ") for line in describe(rule) if line.startswith("then")
    ] == [
        "posts a CloudEvent to https://example.org with the header X-Key from /etc/hook.secret, again and again until the"
        " answer is 2xx",
        "posts a CloudEvent to http://example.org, again and again until the answer is 2xx",
        "runs /opt/after 'a b' with the event on its standard input, for 1 min at the most, again and again until its exit"
        " status is 0",
        f"starts the Globus Flow {flow} with the event as its input",
        f"starts the Globus Flow {flow} with its `body` as its input",
        "lets ada@example.org read the batch's folders at the Globus destinations",
        f"lets group {flow} read the batch's folders at the Globus destinations",
    ]


@pytest.mark.parametrize(
    ("quiet", "words"),
    [
        (0.0, "0 ms (1 s where open writers cannot be seen)"),
        (0.2, "200 ms (1 s where open writers cannot be seen)"),
        (5.0, "5 s (10 s where open writers cannot be seen)"),
    ],
)
def test_the_quiet_that_counts(quiet: float, words: str) -> None:
    """The quiet period is told as it counts, with and without a way to see open writers."""
    told = describe(Rule("r", "/data", complete=Conditions(quiet=quiet)))[1]
    assert told.endswith(f"it has not changed for {words}")


@pytest.mark.parametrize(
    ("reclaim", "words"),
    [
        (
            Reclaim(after=0.0),
            "deletes local files 0 ms after they are proved at every destination, once they have not changed for 1 min",
        ),
        (
            Reclaim(after=0.0, trash=0.0, min_age=0.0),
            "deletes local files 0 ms after they are proved at every destination",
        ),
        (
            Reclaim(when_free_below=0.005, trash=86400.0),
            "deletes the oldest proved local files, and none else, while less than 0.5% of the disk is free",
        ),
    ],
)
def test_what_is_deleted(reclaim: Reclaim, words: str) -> None:
    """Deleting is told by its conditions; what goes for want of space does not pass through the trash."""
    assert describe(Rule("r", "/data", reclaim=reclaim))[-1] == words


@pytest.mark.parametrize(
    ("sealing", "words"),
    [
        (Sealing(by="capture"), "with the same captured groups, sealed as soon as they are complete"),
        (Sealing(linger=1.0), "of one directory, sealed when none has joined for 1 s or after 5 s"),
        (Sealing(linger=30.0, max_age=600.0), "of one directory, sealed when none has joined for 30 s or after 10 min"),
    ],
)
def test_how_files_are_grouped(sealing: Sealing, words: str) -> None:
    """Batching is told by what files share and by when they leave."""
    told = describe(Rule("r", "/data", batch=sealing))[2]
    assert told == f"batches files {words}, at 500 files or at 50 GB"
