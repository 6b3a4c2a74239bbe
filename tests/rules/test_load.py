"""The tables of the rules, as rules; each mistake is one line."""

import re
import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules.actions import Command, Flow, Share, Webhook
from rules.config.config_error import RuleError, nearest
from rules.rule import Conditions, Reclaim, Rule, Sealing, Target
from tests import configured

laws = settings(max_examples=100, deadline=None)


def load(text: str) -> tuple[Rule, ...]:
    """The rules of a file with destinations `share` and `mirror`, in a folder /cfg."""
    absolute = lambda path: path if path.startswith("/") else f"/cfg/{path}"  # noqa: E731
    return configured.rules(tomllib.loads(text), ("share", "mirror"), absolute)


def rule(lines: str = "", name: str = "r", watch: str = "/data") -> str:
    """A rule table with these lines added."""
    deliver = "" if "deliver" in lines else 'deliver = [{ to = "share" }]\n'
    return f'[[rules]]\nname = "{name}"\nwatch = "{watch}"\n{deliver}{lines}\n'


def config_error_in(text: str) -> str:
    """The one line that the error in the text gives."""
    with pytest.raises(RuleError) as caught:
        load(text)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_the_least_rule() -> None:
    """A rule needs a name, a directory and a destination; the rest has defaults, and nothing is reclaimed."""
    assert load(rule(watch="in")) == (Rule("r", "/cfg/in", deliver=(Target("share", "{relpath}"),)),)


CAMPUS = '[destinations.campus]\ntransport = "globus"\ncollection = "11111111-2222-3333-4444-555555555555"\n'


@pytest.mark.parametrize(
    ("lines", "linger"),
    [
        ("", None),
        ('then = [{ command = ["x"] }]', 1.0),
        ('deliver = [{ to = "share" }, { to = "campus" }]', 1.0),
        ('deliver = [{ to = "campus" }]\nshare_with = ["ada@example.org"]', 1.0),
        ('deliver = [{ to = "campus" }]\nbatch = { linger = "0s" }', 0.0),
        ('then = [{ command = ["x"] }]\nbatch = { linger = "0s" }', 0.0),
        ('batch = { linger = "30s" }', 30.0),
    ],
)
def test_batches_wait_for_more_files_where_each_costs_a_request_or_an_action(lines: str, linger: float | None) -> None:
    """Into directories alone a batch goes at once; with a service or an action it waits a second; what is written holds."""
    assert [one.batch.linger for one in load(rule(lines) + CAMPUS)] == [linger]


def test_a_rule_with_everything() -> None:
    """Each key of the file arrives in the rule, in seconds, bytes and fractions."""
    text = rule(
        """
        include = ["*.h5", "raw/"]
        exclude = ["*.tmp"]
        capture = '(?P<run>run_\\d+)'
        complete = { quiet = "10s", marker = "{stem}.done", patience = "6h", min_size = 7 }
        batch = { by = "{run}", max_files = 7, max_bytes = "4GiB", linger = "30s", max_age = "1h", schedule = "30 3 * * *" }
        deliver = [{ to = "share", path = "{run}/{mtime:%Y}/{name}" }, { to = "mirror" }]
        reclaim = { after = "7d", when_free_below = "15%", trash = "3d", empty_dirs = true }
        """
    )
    assert load(text) == (
        Rule(
            name="r",
            watch="/data",
            include=("*.h5", "raw/"),
            exclude=("*.tmp",),
            capture=re.compile(r"(?P<run>run_\d+)"),
            complete=Conditions(quiet=10.0, marker="{stem}.done", patience=21600.0, min_size=7),
            batch=Sealing("{run}", 7, 2**32, 30.0, 3600.0, "30 3 * * *"),
            deliver=(Target("share", "{run}/{mtime:%Y}/{name}"), Target("mirror", "{relpath}")),
            reclaim=Reclaim(after=604800.0, when_free_below=0.15, trash=259200.0, empty_dirs=True),
        ),
    )


def test_reclaim_by_default_only_deletes() -> None:
    """Trash and the removal of empty directories are to be asked for."""
    assert load(rule('reclaim = { after = "0s" }'))[0].reclaim == Reclaim(0.0, None, None, False, min_age=60.0)
    assert load(rule('reclaim = { after = "0s", min_age = "5m" }'))[0].reclaim == Reclaim(after=0.0, min_age=300.0)


def test_what_is_done_for_verified_batches() -> None:
    """`then` keeps its order; whom a rule shares with twice has it once."""
    flow = "11111111-2222-3333-4444-555555555555"
    text = f"""
        then = [
          {{ command = ["./after.sh", "x"], timeout = "1m" }},
          {{ webhook = "https://example.org/hook", secret_file = "hook.secret", header = "X-Key" }},
          {{ flow = "{flow}", body = {{ path = "{{folder}}" }} }},
        ]
        share_with = ["Ada@example.org", "group:{flow}", "ada@example.org"]
        """
    campus = f'[destinations.campus]\ntransport = "globus"\ncollection = "{flow}"\n'
    (made,) = load(rule(f'{text}deliver = [{{ to = "campus" }}]') + campus)
    assert made.then == (
        Command(("/cfg/./after.sh", "x"), 60.0),
        Webhook("https://example.org/hook", "/cfg/hook.secret", "X-Key"),
        Flow(flow, {"path": "{folder}"}),
    )
    assert made.share_with == (Share("identity", "ada@example.org"), Share("group", flow))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ('then = { webhook = "https://x" }', "then: write a list, [ ... ], or for tables [[ ... ]]"),
        ('then = [{ webhok = "https://x" }]', "then.0.webhok: unknown key; did you mean 'webhook'?"),
        ('then = [{ command = "rm -rf /" }]', "then.0.command: write a list, [ ... ], or for tables [[ ... ]] (got 'rm -rf /')"),
        ('then = [{ command = ["x"] }, {}]', "then.1: write a table with exactly one of webhook, command, flow"),
        ('then = [{ webhook = "x" }]', "then.0.webhook: the webhook is no address such as 'https://example.org/hook' (got 'x')"),
        (
            'share_with = ["ada"]',
            "share_with.0: 'ada' is no user name ('ada@example.org'), no identity's UUID, and no group ('group:UUID')",
        ),
    ],
)  # fmt: skip
def test_mistakes_in_what_is_done_for_verified_batches(lines: str, message: str) -> None:
    """As everywhere: file, table, key, what is wrong and what to write."""
    assert config_error_in(rule(lines)) == f"f.toml: [[rules]] 'r': {message}"


def test_rules_keep_their_order() -> None:
    """The rules come in the order of the file."""
    assert [one.name for one in load(rule(name="b") + rule(name="a") + rule(name="c"))] == ["b", "a", "c"]


KEYS = (
    "batch, capture, complete, dataset, deliver, exclude, include, last, links, name, newer_than, preset, reclaim, share_with,"
    " skip_partial, then, updates_in_place, watch"
)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ('inclde = ["*"]', "inclde: unknown key; did you mean 'include'?"),
        (
            "function-x = 1",
            f"function-x: unknown key; known are {KEYS}",
        ),
        ('complete = { "[key]" = 1 }', "complete.[key]: unknown key; known are marker, min_size, patience, quiet, require"),
        ('complete = { quite = "1s" }', "complete.quite: unknown key; did you mean 'quiet'?"),
        ("batch = { maxfiles = 1 }", "batch.maxfiles: unknown key; did you mean 'max_files'?"),
        ('deliver = [{ to = "share", pth = "x" }]', "deliver.0.pth: unknown key; did you mean 'path'?"),
        ('reclaim = { aftr = "7d" }', "reclaim.aftr: unknown key; did you mean 'after'?"),
        (
            'reclaim = { zzz = "7d" }',
            "reclaim.zzz: unknown key; known are after, empty_dirs, evidence, min_age, trash, when_free_below",
        ),
        ('"a\\nb" = 1', f"a\\nb: unknown key; known are {KEYS}"),
    ],
)  # fmt: skip
def test_unknown_keys(lines: str, message: str) -> None:
    """An unknown key, however deep, is named with the nearest known key of its table, or with all of them."""
    assert config_error_in(rule(lines)) == f"f.toml: [[rules]] 'r': {message}"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ('include = "*.h5"', "include: write a list, [ ... ], or for tables [[ ... ]] (got '*.h5')"),
        ("include = [5]", "include.0: write text in quotes (got 5)"),
        ("capture = true", "capture: write text in quotes (got True)"),
        ('complete = "10s"', "complete: write a table, { ... } (got '10s')"),
        ("complete = [1]", "complete: write a table, { ... }"),
        ("complete = { quiet = 5 }", "complete.quiet: write it as text with its unit, for example '30s' (got 5)"),
        (
            'complete = { quiet = "5" }',
            "complete.quiet: '5' is not a duration; write for example \"500ms\", \"30s\", \"5m\", \"12h\" or \"7d\"",
        ),
        (
            "complete = { min_size = 1.5 }",
            "complete.min_size: write it as text with its unit, for example '50GB', or as a whole number of bytes (got 1.5)",
        ),
        ("complete = { min_size = -1 }", "complete.min_size: Input should be greater than or equal to 0 (got -1)"),
        (
            'batch = { max_bytes = "50 apples" }',
            "batch.max_bytes: '50 apples' is not a size; write for example \"500kB\", \"50GB\" or \"4GiB\"",
        ),
        (
            f"batch = {{ max_bytes = 0x{'f' * 5000} }}",
            "batch.max_bytes: Input should be less than or equal to 1000000000000000000",
        ),
        (f"batch = {{ max_files = 0x{'f' * 5000} }}", "batch.max_files: Input should be less than or equal to 100000"),
        (f'batch = {{ max_bytes = "{"9" * 400}B" }}', "batch.max_bytes: Input should be less than or equal to 1000000000000000000"),
        (
            'batch = { max_files = "many" }',
            "batch.max_files: Input should be a valid integer, unable to parse string as an integer (got 'many')",
        ),
        ("batch = { max_files = 0 }", "batch.max_files: Input should be greater than or equal to 1 (got 0)"),
        ('deliver = "share"', "deliver: write a list, [ ... ], or for tables [[ ... ]] (got 'share')"),
        ('deliver = ["share"]', "deliver.0: write a table, { ... } (got 'share')"),
        ('deliver = [{ path = "x" }]', "deliver.0.to: missing; this key is required"),
        ("deliver = []", "deliver: Tuple should have at least 1 item after validation, not 0"),
        (
            "reclaim = { when_free_below = 0.15 }",
            "reclaim.when_free_below: write it as text with its unit, for example '15%' (got 0.15)",
        ),
        (
            'reclaim = { when_free_below = "150%" }',
            "reclaim.when_free_below: '150%' is not a percentage; write for example \"15%\"",
        ),
    ],
)  # fmt: skip
def test_wrong_types(lines: str, message: str) -> None:
    """A value of the wrong type is named with its table and key, with what to write and, if short, what was written."""
    assert config_error_in(rule(lines)) == f"f.toml: [[rules]] 'r': {message}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rules = 5", "rules: write a list, [ ... ], or for tables [[ ... ]] (got 5)"),
        ("[rules]\nname = 'r'", "rules: write a list, [ ... ], or for tables [[ ... ]]"),
        ("rules = [5]", "[[rules]] number 1: write a table, { ... } (got 5)"),
        ("[[rules]]\nwatch = 'x'", "[[rules]] number 1: name: missing; this key is required"),
        ("[[rules]]\nname = 'r'\nwatch = 'x'", "[[rules]] 'r': deliver: missing; this key is required"),
        (rule() + "[[rules]]\nname = 5\nwatch = 'x'", "[[rules]] number 2: name: write text in quotes (got 5)"),
        (
            rule(name="a b"),
            "[[rules]] 'a b': name: String should match pattern '^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$' (got 'a b')",
        ),
        (rule(watch=""), "[[rules]] 'r': watch: is not a path (got '')"),
        (rule(watch="a\\u0000b"), "[[rules]] 'r': watch: is not a path (got 'a\\x00b')"),
        (f"[[rules]]\nname = 0x{'f' * 5000}\nwatch = 'x'", "[[rules]] number 1: name: write text in quotes"),
        ("[[rule]]", "rule: unknown key; did you mean 'rules'?"),
    ],
)  # fmt: skip
def test_wrong_tables(text: str, message: str) -> None:
    """A table that is not one, or lacks what it needs, is named by its name or else by its number."""
    assert config_error_in(text) == f"f.toml: {message}"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            'capture = "(unclosed"',
            "the regular expression does not compile: missing ), unterminated subpattern at position 0 (got '(unclosed')",
        ),
        (
            "capture = '(a{99999999999999999999})'",
            "the regular expression does not compile: the repetition number is too large (got '(a{99999999999999999999})')",
        ),
        ("capture = '(?P<name>x)'", "the group name 'name' is taken by a template field; give it another"),
        ("capture = '(?P<mtime>x)'", "the group name 'mtime' is taken by a template field; give it another"),
    ],
)  # fmt: skip
def test_wrong_expressions(lines: str, message: str) -> None:
    """A regular expression compiles, and its groups do not hide the fields of templates."""
    assert config_error_in(rule(lines)) == f"f.toml: [[rules]] 'r': capture: {message}"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ('include = ["*.h5", "!"]', "include.1: '!' is not a gitignore pattern: Invalid git pattern: '!'"),
        ('include = ["[z-a]"]', "include.0: '[z-a]' is not a gitignore pattern: bad character range z-a at position 10"),
        ('exclude = ["# temporary files"]', "exclude.0: '# temporary files' matches nothing"),
        ('exclude = [""]', "exclude.0: '' matches nothing"),
        ('complete = { marker = "["}', "complete.marker: '[' matches nothing"),
        ('complete = { marker = "{run}.done"}', "complete.marker: '{run}.done' has an unknown field; known are {name} and {stem}"),
    ],
)  # fmt: skip
def test_wrong_patterns(lines: str, message: str) -> None:
    """A pattern that cannot be read, or can match nothing, is not left to be found out later."""
    assert config_error_in(rule(lines)) == f"f.toml: [[rules]] 'r': {message}"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            'by = "dirs"',
            "batch.by: 'dirs' is none of 'dir', 'dataset', 'capture' or a template such as '{run}'; did you mean 'dir'?",
        ),
        ('by = "capture"', "batch.by: 'capture' wants a `capture` regular expression with named groups, (?P<run>...)"),
        (
            'by = "{run}"',
            "batch.by: template '{run}': unknown field {run}; "
            "known are dir, host, inside, name, relpath, rest, rule, stem, suffix, mtime",
        ),
        ('schedule = "at night"', "batch.schedule: 'at night' is not a cron expression: Wrong number of fields"),
        ('schedule = "61 * * * *"', "batch.schedule: '61 * * * *' is not a cron expression: Bad minute"),
        ('schedule = "0 0 30 2 *"', "batch.schedule: '0 0 30 2 *' is not a cron expression: Bad day-of-month"),
        ('schedule = ""', "batch.schedule: '' is not a cron expression: Wrong number of fields"),
    ],
)
def test_wrong_batching(lines: str, message: str) -> None:
    """A batch is grouped by something that exists, at times that come."""
    assert config_error_in(rule(f"batch = {{ {lines} }}")) == f"f.toml: [[rules]] 'r': {message}"


@pytest.mark.parametrize(
    ("deliver", "message"),
    [
        ('{ to = "shar" }', "0.to: there is no [destinations.shar]; did you mean 'share'?"),
        ('{ to = "zzz" }', "0.to: there is no [destinations.zzz]; known are mirror, share"),
        ('{ to = "share" }, { to = "share", path = "x/{relpath}" }', "1.to: the same destination twice"),
        (
            '{ to = "share", path = "../{relpath}" }',
            "0.path: template '../{relpath}' leaves the destination: '../sample'",
        ),
        ('{ to = "share", path = "/srv/{name}" }', "0.path: template '/srv/{name}' makes an absolute path: '/srv/sample'"),
        (
            '{ to = "share", path = "{nmae}" }',
            "0.path: template '{nmae}': unknown field {nmae} (did you mean 'name'?);"
            " known are dir, host, inside, name, relpath, rest, rule, stem, suffix, mtime",
        ),
        ('{ to = "share", path = "{mtime:{nope}}" }',
         "0.path: template '{mtime:{nope}}': {mtime} wants a format, for example {mtime:%Y-%m-%d}"),
    ],
)  # fmt: skip
def test_wrong_deliveries(deliver: str, message: str) -> None:
    """A delivery names a destination that exists, once, and a path below it."""
    assert config_error_in(rule(f"deliver = [{deliver}]")) == f"f.toml: [[rules]] 'r': deliver.{message}"


@pytest.mark.parametrize("reclaim", ["{}", '{ trash = "3d" }', "{ empty_dirs = true }"])
def test_a_reclaim_that_never_happens(reclaim: str) -> None:
    """A reclaim table says when."""
    wanted = "reclaim: says neither `after` nor `when_free_below`, so it would never reclaim; add one"
    assert config_error_in(rule(f"reclaim = {reclaim}")) == f"f.toml: [[rules]] 'r': {wanted}"


def test_two_rules_of_one_name() -> None:
    """Each rule has its own name."""
    text = rule(name="a") + rule(name="b") + rule(name="a", watch="/elsewhere")
    assert config_error_in(text) == "f.toml: [[rules]] 'a': name: two rules have this name; give each its own"


def test_the_name_of_what_is_sent_by_hand_is_taken() -> None:
    """A rule of that name would be taken for what a person sent."""
    said = "is kept for what `dropline send` delivers; choose another"
    assert config_error_in(rule(name="send")) == f"f.toml: [[rules]] 'send': name: {said}"


SOON, NEVER = 'reclaim = { after = "0s" }', ""


@pytest.mark.parametrize(
    ("one", "other"), [("/data", "/data"), ("/data", "/data/a/b"), ("/data/a", "/data"), ("/", "/data")]
)
def test_overlapping_rules_that_reclaim_differently(one: str, other: str) -> None:
    """Rules for one directory, or for one inside the other, must agree about deleting."""
    wanted = (
        f"f.toml: [[rules]] 'b': reclaim: its directory {other} overlaps that of rule 'a' ({one}), but they reclaim"
        " differently; give both the same reclaim, or watch separate directories"
    )
    assert config_error_in(rule(SOON, "a", one) + rule(NEVER, "b", other)) == wanted
    assert config_error_in(rule(NEVER, "a", one) + rule('reclaim = { after = "1s" }', "b", other)) == wanted
    assert len(load(rule(SOON, "a", one) + rule(SOON, "b", other))) == 2


@pytest.mark.parametrize(("one", "other"), [("/data", "/data2"), ("/data/a", "/data/b"), ("/data/a", "/data/a.old")])
def test_separate_rules_may_reclaim_differently(one: str, other: str) -> None:
    """Directories beside one another, though one's name begins like the other's, do not overlap."""
    assert len(load(rule(SOON, "a", one) + rule(NEVER, "b", other))) == 2


@laws
@given(st.text(max_size=30), st.text(max_size=30), st.text(max_size=30), st.text(max_size=60))
def test_an_error_is_one_printable_line(file: str, table: str, key: str, message: str) -> None:
    """Whatever the configuration has in its keys and values, its mistake is one line without control characters."""
    line = str(RuleError(file, table, key, message))
    assert line.isprintable()
    assert len(line.splitlines()) <= 1


@pytest.mark.parametrize(
    ("word", "known", "hint"),
    [
        ("inclde", ["include", "exclude"], "; did you mean 'include'?"),
        ("zzz", ["b", "a"], "; known are a, b"),
        ("zzz", [], ""),
    ],
)
def test_the_nearest_key(word: str, known: list[str], hint: str) -> None:
    """A hint is the nearest known word, or all of them, or nothing."""
    assert nearest(word, known) == hint
