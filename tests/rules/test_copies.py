"""Is each copy a copy of its own?"""

from hypothesis import given
from hypothesis import strategies as st

from rules.model import CopyId, FileId, VolumeId
from rules.versions.copies import distinct, left_in_words

names = st.sampled_from(["a", "b", "c", "d"])
copies = st.builds(CopyId, st.integers(1, 3).map(VolumeId), st.integers(1, 3).map(FileId))


@given(st.dictionaries(names, st.tuples(st.none() | copies, st.sampled_from(["1", "2", "3", "4"])), max_size=4))
def test_a_copy_counts_once(found: dict[str, tuple[CopyId | None, str]]) -> None:
    """It is enough exactly where no two destinations are one directory, and no two copies are one file."""
    known = [copy for copy, _ in found.values() if copy is not None]
    identities = [identity for _, identity in found.values()]
    apart = len(set(known)) == len(known) and len(set(identities)) == len(identities)
    verdict = distinct({k: v[0] for k, v in found.items()}, {k: v[1] for k, v in found.items()})
    assert verdict.ok == apart


def test_the_reason_names_both() -> None:
    """Which two destinations share a copy, and how."""
    one = CopyId(VolumeId(1), FileId(2))
    assert distinct({"a": one, "b": one}, {"a": "1", "b": "2"}).reason == (
        "at a and b is one file under two names, so there is one copy and not two"
    )
    assert distinct({"a": one, "b": None}, {"a": "1", "b": "1"}).reason == (
        "a and b are one directory, so there is one copy and not two"
    )


@given(st.dictionaries(names, st.sampled_from([None, "h:/a/x", "h:/b/x", "h:/a/y"]), max_size=4))
def test_a_path_at_a_service_counts_once(paths: dict[str, str | None]) -> None:
    """Whichever collection shows it; where the service does not say, it may be that of another one."""
    verdict = distinct(dict.fromkeys(paths), {name: name for name in paths}, paths)
    assert verdict.ok == (len(paths) < 2 or (None not in paths.values() and len(set(paths.values())) == len(paths)))


def test_what_is_left_of_a_file_that_was_removed_on_its_way() -> None:
    """Which destination has it, which has not, and how it gets there."""
    assert left_in_words(["a", "b"], []) == "its copy is whole"
    assert left_in_words(["a"], ["b", "c"]) == (
        "its copy at a is whole, and it is not proved at b and c: `dropline fetch` brings it back from a, then"
        " `dropline send --to b`"
    )
