"""Where a file goes, and what it may do about a name that is taken."""

import re
import unicodedata
from dataclasses import replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from rules.datasets.membership import dataset_of
from rules.model import OWN_PREFIX, Content
from rules.naming import (
    Claim,
    Occupant,
    Owner,
    PathRefused,
    check,
    claim,
    facts,
    free_number,
    name_key,
    own_folder,
    own_name,
    place,
    render,
)
from rules.rule import Rule
from tests import configured

JANUARY = 1_769_860_800 * 10**9  # 2026-01-31 12:00 UTC
RULE = Rule("tomo", "/data", capture=re.compile(r"(?P<run>run_\d+)|(?P<more>[^_]*)"))
GROUPS = ("run", "more")
laws = settings(max_examples=200, deadline=None)

names = st.one_of(
    st.binary(min_size=1, max_size=8).map(lambda raw: raw.translate(None, b"/\0").decode("utf-8", "surrogateescape")),
    st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=8),
    st.sampled_from(["...", "~", "C:", "a\\b", "..\\..", "run_1", ".dropline", ".dropline-trash", "a\nb", "\x1b[2J", "{name}"]),
).filter(lambda name: name not in ("", ".", ".."))  # fmt: skip
relpaths = st.lists(names, min_size=1, max_size=4).map("/".join)
mtimes = st.integers(-(2**63), 2**63 - 1) | st.integers(-(2**95), 2**95)
PIECES = (
    *("{rule}", "{relpath}", "{dir}", "{name}", "{stem}", "{suffix}", "{host}", "{run}", "{more}", "{mtime:%Y/%m}"),
    *("{mtime:%c}", "/", "/", "..", ".", ".dropline", "x", "{{", "}}", " "),
)
templates = st.lists(st.sampled_from(PIECES), min_size=1, max_size=6).map("".join)


def own(path: str) -> bool:
    """Whether a part of the path is a name that the agent keeps for itself."""
    return any(part.startswith(OWN_PREFIX) for part in path.split("/"))


@pytest.mark.parametrize(
    ("template", "path"),
    [
        ("{relpath}", "p1/run_3/img.0001.h5"),
        ("{rule}/{relpath}", "tomo/p1/run_3/img.0001.h5"),
        ("{dir}/{name}", "p1/run_3/img.0001.h5"),
        ("{stem}{suffix}", "img.0001.h5"),
        ("{host}/{run}/{name}", "pc/run_3/img.0001.h5"),
        ("{more}/{name}", "img.0001.h5"),
        ("a/{more}/b/{name}", "a/b/img.0001.h5"),
        ("./a//{name}", "a/img.0001.h5"),
        ("{mtime:%Y/%m}/{mtime:%d}_{name}", "2026/01/31_img.0001.h5"),
        ("{{{name}}}", "{img.0001.h5}"),
    ],
)
def test_a_template_is_filled_in(template: str, path: str) -> None:
    """Fields are replaced by the file's facts, and empty parts are dropped."""
    rule = Rule("tomo", "/data", capture=re.compile(r"(?P<run>run_\d+)/(?P<more>nothing)?"))
    check(template, rule.capture.groupindex if rule.capture else ())
    assert place(template, rule, "p1/run_3/img.0001.h5", JANUARY, "pc") == path


@pytest.mark.parametrize(
    ("relpath", "stem", "suffix"),
    [
        ("a/b.tar.gz", "b.tar", ".gz"),
        ("a/b", "b", ""),
        ("a/.hidden", ".hidden", ""),
        ("a/.hidden.h5", ".hidden", ".h5"),
        ("b.", "b", "."),
    ],
)
def test_the_facts(relpath: str, stem: str, suffix: str) -> None:
    """The facts are the path's parts; a leading dot begins no suffix; groups that did not match are empty."""
    directory, _, name = relpath.rpartition("/")
    wanted = {
        "rule": "r", "relpath": relpath, "dir": directory, "name": name, "stem": stem, "suffix": suffix,
        "host": "pc", "mtime": "5", "run": "", "inside": name, "rest": relpath,
    }  # fmt: skip
    for pattern in ("(?P<run>run)?", "(?P<run>run)"):
        assert facts(Rule("r", "/data", capture=re.compile(pattern)), relpath, 5, "pc") == wanted


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("", "template '' makes an empty path"),
        ("./.", "template './.' makes an empty path"),
        ("/srv/{name}", "template '/srv/{name}' makes an absolute path: '/srv/sample'"),
        ("C:\\x\\{name}", "template 'C:\\\\x\\\\{name}' makes an absolute path: 'C:\\\\x\\\\sample'"),
        ("{rule}/../../{name}", "template '{rule}/../../{name}' leaves the destination: 'sample/../../sample'"),
        ("..", "template '..' leaves the destination: '..'"),
        (".dropline/{name}", "template '.dropline/{name}' makes a name that the agent keeps for itself: '.dropline/sample'"),
        ("{name", "template '{name': expected '}' before end of string"),
        ("name}", "template 'name}': Single '}' encountered in format string"),
        ("{name}\n", "template '{name}\\n' has control characters"),
        ("{mtime:%Y%n}", "template '{mtime:%Y%n}' makes control characters"),
        ("{mtime}", "template '{mtime}': {mtime} wants a format, for example {mtime:%Y-%m-%d}"),
        ("{mtime:{name}}", "template '{mtime:{name}}': {mtime} wants a format, for example {mtime:%Y-%m-%d}"),
        ("{mtime:{nope}}", "template '{mtime:{nope}}': {mtime} wants a format, for example {mtime:%Y-%m-%d}"),
    ],
)  # fmt: skip
def test_what_is_no_template(template: str, message: str) -> None:
    """A template that can never make a good path is refused where it is written."""
    with pytest.raises(PathRefused) as caught:
        check(template, ())
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "field", ["{}", "{0}", "{nope}", "{rule.name}", "{rule[0]}", "{rule!r}", "{rule:>9}", "{run}", "{mtime!s:%Y}"]
)
def test_unknown_fields(field: str) -> None:
    """Only the known fields may be used, without the rest of what Python's formatting can do."""
    with pytest.raises(PathRefused, match="unknown field") as caught:
        check(f"x/{field}", ("scan",))
    assert str(caught.value).endswith(
        "known are dir, host, inside, name, relpath, rest, rule, scan, stem, suffix, mtime"
    )


@laws
@given(st.text(max_size=20) | templates)
def test_any_template_is_good_or_refused(template: str) -> None:
    """Whatever is written as a template, `check` accepts or refuses it, and never fails otherwise."""
    try:
        check(template, GROUPS)
    except PathRefused:
        return
    assert render(template, facts(RULE, "a/b.c", 0, "pc") | {"run": "x", "more": "y"})


@laws
@given(templates, relpaths, mtimes)
@example("{dir}/{name}", "x", 2**70)
@example("{run}{more}/{name}", "../x", 0)
def test_no_file_leaves_the_destination(template: str, relpath: str, mtime_ns: int) -> None:
    """Whatever a file is called and however old it is, its path stays below the destination and off the agent's own names."""
    assume(not own(relpath))  # never claimed
    try:
        check(template, GROUPS)
    except PathRefused:
        assume(False)
    try:
        path = place(template, RULE, relpath, mtime_ns, "pc")
    except PathRefused:
        return
    assert not {"", ".", ".."} & set(path.split("/"))
    assert not own(path)


@laws
@given(relpaths)
def test_names_travel_as_they_are(relpath: str) -> None:
    """The default template, and the same made of parts, keep every path byte for byte."""
    assume(not own(relpath))
    assert place("{relpath}", RULE, relpath, 0, "pc") == relpath
    assume(not re.match(r"[A-Za-z]:[\\/]", relpath))  # refused: elsewhere it means a drive
    assert place("{dir}/{name}", RULE, relpath, 0, "pc") == relpath
    assert place("x/{dir}/{stem}{suffix}", RULE, relpath, 0, "pc") == f"x/{relpath}"


@pytest.mark.parametrize("captured", ["..", "a/../b", ".dropline", "a/.dropline-trash/b", "C:/x", "./.", ""])
def test_a_captured_part_does_not_lead_elsewhere(captured: str) -> None:
    """What a file's name puts into a template is looked at as closely as the template, and refuses that file only."""
    with pytest.raises(PathRefused):
        render("{run}", {"run": captured, "mtime": "0"})


def test_a_file_of_the_night_is_in_the_folder_of_its_local_day() -> None:
    """By the clock of the rule's zone; where that is beyond the calendar, by UTC."""
    rule = RULE.in_zone(ZoneInfo("Europe/Berlin"))
    evening = int(datetime(2026, 6, 30, 22, 30, tzinfo=UTC).timestamp()) * 10**9
    assert place("{mtime:%Y-%m-%d}/{name}", rule, "x.h5", evening, "pc") == "2026-07-01/x.h5"
    assert place("{mtime:%Y-%m-%d}/{name}", rule, "x.h5", 2**100, "pc") == "9999-12-31/x.h5"


def test_an_hour_that_the_clock_skips_or_shows_twice_has_a_path() -> None:
    """In spring there is no 02:30; in autumn two files of 02:30 lie in one folder, and `%z` tells them apart."""
    rule = RULE.in_zone(ZoneInfo("Europe/Berlin"))
    begin = {"spring": datetime(2026, 3, 29, 0, 30, tzinfo=UTC), "autumn": datetime(2026, 10, 25, 0, 30, tzinfo=UTC)}
    shown = {
        name: [
            place("{mtime:%d_%H%M%z}", rule, "x", (int(at.timestamp()) + hours * 3600) * 10**9, "pc")
            for hours in range(2)
        ]
        for name, at in begin.items()
    }
    assert shown == {"spring": ["29_0130+0100", "29_0330+0200"], "autumn": ["25_0230+0200", "25_0230+0100"]}


@pytest.mark.parametrize(
    ("mtime_ns", "shown"),
    [
        (0, "1970-01-01 00:00:00.000000"),
        (-1, "1969-12-31 23:59:59.999999"),
        (1_767_225_599_999_999_999, "2025-12-31 23:59:59.999999"),
        (2**80, "9999-12-31 23:59:59.999999"),
        (2**100, "9999-12-31 23:59:59.999999"),
    ],
)
def test_the_time_of_a_file(mtime_ns: int, shown: str) -> None:
    """The mtime is shown in UTC, never rounded up into the next second, and absurd ones as the calendar's end."""
    assert render("{mtime:%Y-%m-%d %H:%M:%S.%f}", {"mtime": str(mtime_ns)}) == shown


@pytest.mark.parametrize(
    ("path", "generation", "name"),
    [
        ("a/scan.h5", 2, "a/scan~2.h5"),
        ("scan", 3, "scan~3"),
        ("a.b/scan", 3, "a.b/scan~3"),
        ("a/.hidden", 2, "a/.hidden~2"),
        ("a/x.tar.gz", 12, "a/x.tar~12.gz"),
    ],
)
def test_an_own_name(path: str, generation: int, name: str) -> None:
    """The name that may not replace another one stands beside it and keeps its suffix."""
    assert own_name(path, generation) == name


@laws
@given(relpaths, st.integers(1, 10**6), st.integers(1, 10**6))
def test_own_names_are_new(path: str, one: int, other: int) -> None:
    """An own name is never the name it avoids, and each generation has another, in the same directory."""
    assert own_name(path, one) != path
    assert own_name(path, one).rpartition("/")[0] == path.rpartition("/")[0]
    assert (own_name(path, one) == own_name(path, other)) == (one == other)
    assert own(own_name(path, one)) == own(path)


@laws
@given(st.text(max_size=12))
@example("STRASSE/ß")
@example("\u1e9e")
@example("İ")
@example("ΑΣ")
def test_names_that_a_share_may_confuse_have_one_key(path: str) -> None:
    """Paths that differ only in Unicode form or case have the same key, which fits a signed 64-bit column."""
    key = name_key(path)
    assert -(2**63) <= key < 2**63
    composed = unicodedata.normalize("NFC", path)
    for variant in (composed, unicodedata.normalize("NFD", path), composed.casefold(), composed.lower()):
        assert name_key(variant) == key


@pytest.mark.parametrize(
    ("one", "other"),
    [("a/Scan.H5", "A/scan.h5"), ("é", "e\u0301"), ("É", "e\u0301"), ("ſtraße", "STRASSE"), ("Σ", "ς")],
)
def test_alike(one: str, other: str) -> None:
    """Names that some file system takes for one have one key."""
    assert name_key(one) == name_key(other)


@pytest.mark.parametrize(("one", "other"), [("a", "b"), ("a/b", "ab"), ("a", "a "), ("\udcff", "\udcfe"), ("e", "é")])
def test_not_alike(one: str, other: str) -> None:
    """Other names have other keys, also where they are not Unicode."""
    assert name_key(one) != name_key(other)


def earlier(checksum: bytes | None, *, gone: bool = False) -> Owner:
    """An earlier generation of the file that wants the name."""
    return Owner("/data/x", True, gone, None if checksum is None else Content(checksum, 1), "x")


def unauthenticated(path: str = "x") -> Owner:
    """Another file of ours."""
    return Owner("/data/y", False, False, Content(b"A", 1), path)


CHANGED_IN_PLACE = (Claim.REPLACE, "an earlier version of this file, which changed in place")
ONLY_COPY = (Claim.OWN_NAME, "what is at 'x' may be the only copy of an earlier file of this name")


@pytest.mark.parametrize(
    ("owners", "what"),
    [
        ([], (Claim.REFUSE, "'x' is there already, with other content, and this agent did not write it")),
        ([unauthenticated()], (Claim.OWN_NAME, "the name 'x' belongs to '/data/y'")),
        ([earlier(b"A"), unauthenticated()], (Claim.OWN_NAME, "the name 'x' belongs to '/data/y'")),
        (
            [unauthenticated("X")],
            (Claim.OWN_NAME, "the name 'x', which differs from 'X' only in case or Unicode form, belongs to '/data/y'"),
        ),
        ([earlier(b"A")], CHANGED_IN_PLACE),
        ([earlier(b"A"), earlier(None)], CHANGED_IN_PLACE),
        ([earlier(b"B"), earlier(b"A")], CHANGED_IN_PLACE),
        ([earlier(b"B", gone=True), earlier(b"A")], CHANGED_IN_PLACE),
        ([earlier(b"A", gone=True)], ONLY_COPY),
        ([earlier(b"A", gone=True), earlier(b"A")], ONLY_COPY),
        ([earlier(b"B")], ONLY_COPY),
        ([earlier(None)], ONLY_COPY),
        ([replace(earlier(None), in_place=True)], CHANGED_IN_PLACE),
        ([replace(earlier(None, gone=True), in_place=True)], ONLY_COPY),
        ([replace(earlier(None), in_place=True), earlier(b"B", gone=True)], CHANGED_IN_PLACE),
        ([replace(earlier(b"B"), in_place=True)], ONLY_COPY),
    ],
)
def test_a_taken_name(owners: list[Owner], what: tuple[Claim, str]) -> None:
    """Where content A stands, a file may replace what it was itself, else takes another name; what is not its own stays."""
    assert claim("x", Occupant(1, b"A"), owners) == (*what, Content(b"A", 1) if what[0] is Claim.REPLACE else None)


@pytest.mark.parametrize(
    ("owners", "what", "replaces"),
    [
        ([earlier(b"A")], CHANGED_IN_PLACE, Content(b"A", 1)),
        ([earlier(b"A", gone=True), earlier(b"B")], CHANGED_IN_PLACE, Content(b"B", 1)),
        ([earlier(b"A", gone=True)], ONLY_COPY, None),
        ([replace(earlier(b"A"), content=Content(b"A", 2))], ONLY_COPY, None),
        ([unauthenticated()], (Claim.OWN_NAME, "the name 'x' belongs to '/data/y'"), None),
    ],
)
def test_a_taken_name_whose_content_was_not_read(
    owners: list[Owner], what: tuple[Claim, str], replaces: Content | None
) -> None:
    """Its size tells whether it may be what the file was itself: then that may be replaced, and is compared before."""
    assert claim("x", Occupant(1, None), owners) == (*what, replaces)


owners_st = st.builds(
    Owner, source=st.just("/data/x"), same_source=st.booleans(), gone=st.booleans(),
    content=st.none() | st.builds(Content, st.sampled_from([b"A", b"B"]), st.integers(1, 2)),
    path=st.sampled_from(["x", "X"]), in_place=st.booleans(),
)  # fmt: skip


@laws
@given(st.lists(owners_st, max_size=4), st.sampled_from([b"A", None]))
def test_only_its_own_present_content_is_replaced(owners: list[Owner], checksum: bytes | None) -> None:
    """Replaced is only an earlier version of this very file that never went away, or what an attempt at one may have left."""
    what, _, replaces = claim("x", Occupant(1, checksum), owners)
    assert (replaces is not None) == (what is Claim.REPLACE)
    former = [
        owner for owner in owners
        if owner.content == replaces or (owner.content is None and owner.in_place and checksum is not None)
    ]  # fmt: skip
    if replaces is not None:
        assert former
        assert all(owner.same_source for owner in owners)
        assert any(not owner.gone for owner in former)
        assert replaces.size == 1
        assert checksum is None or (replaces.checksum == checksum and not any(owner.gone for owner in former))
        assert all(owner.same_source for owner in owners)
    assert (what is Claim.REFUSE) == (not owners), "what nobody of ours wrote"
    if not all(owner.same_source for owner in owners):
        assert what is Claim.OWN_NAME


@pytest.mark.parametrize(
    ("together", "template", "relpath", "path"),
    [
        ({"dir": "run_[0-9]+/"}, "{relpath}", "run_1/deep/f1.tif", "run_1~2/deep/f1.tif"),
        ({"dir": "run_[0-9]+/"}, "{inside}", "run_1/f1.tif", "run_1~2/f1.tif"),
        ({"dir": "run_[0-9]+/"}, "all/{name}", "run_1/deep/f1.tif", "all/f1~2.tif"),
        ({"group": "(?P<dir>.*/)?(?P<s>s_[0-9]+)_.*"}, "{relpath}", "p/s_1_master.h5", "p/s_1~2/s_1_master.h5"),
        ({"group": "(?P<dir>.*/)?(?P<s>s_[0-9]+)_.*"}, "{relpath}", "s_1_master.h5", "s_1~2/s_1_master.h5"),
        ({"group": "^(?P<v>[^/]+)/.*?(?P<s>P_[0-9]+)_.*"}, "{v}/{s}/{name}", "v/x/P_1_2.mrc", "v/P_1/P_1~2/P_1_2.mrc"),
        (None, "{relpath}", "a/scan.h5", "a/scan~2.h5"),
    ],
)
def test_a_dataset_whose_name_was_used_before_has_a_folder_for_itself(
    together: dict[str, str] | None, template: str, relpath: str, path: str
) -> None:
    """Its files refer to each other by name, and keep their names."""
    table = {"name": "r", "watch": "/data", "deliver": [{"to": "share", "path": template}]}
    rule = configured.rule(table | ({"dataset": together} if together else {"complete": {"require": [{"has": "*"}]}}))
    dataset = dataset_of(rule, relpath)
    assert dataset is not None
    assert own_folder(place(template, rule, relpath, 0, "pc"), dataset, relpath, 2) == path


@given(st.integers(1, 5), st.sets(st.integers(0, 60)), st.integers(0, 2_000))
def test_a_free_number_is_found_with_few_questions(first: int, others: set[int], after: int) -> None:
    """Not taken, from the first on; the lowest where the taken ones follow one another; never more than two for each doubling."""
    asked: list[int] = []

    def taken(number: int) -> bool:
        asked.append(number)
        return number in others or number < after

    found = free_number(first, taken)
    assert found >= first
    assert found not in others
    assert found >= after
    assert len(asked) <= 2 * (max(after, 61) + 1).bit_length() + 2
    if not others:
        assert found == max(first, after)
