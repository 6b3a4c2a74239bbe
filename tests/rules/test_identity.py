"""Is it the same file?"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.model import CopyId, FileId, Kind, Observation, Version, VolumeId
from rules.versions.identity import Adoption, adoption, made_again, restamped

KNOWN = Version(10, 100, 200, FileId(7))


def seen(file_id: int) -> Observation:
    """A later reading."""
    return Observation(Version(20, 300, 400, FileId(file_id)), VolumeId(1), Kind.FILE)


@pytest.mark.parametrize(
    ("file_id", "born_ns", "left", "same", "reason"),
    [
        (7, 200, False, True, "it changed in place"),
        (7, 0, False, True, "it changed in place"),
        (7, None, False, True, "it changed in place"),
        (7, 201, False, False, "another file has its name, and its number again"),
        (8, 0, False, False, "another file has its name"),
        (8, None, False, False, "another file has its name"),
        (7, 0, True, False, "the name was away in between"),
    ],
)
def test_whose_a_reading_is(file_id: int, born_ns: int | None, left: bool, same: bool, reason: str) -> None:
    """The same number, made before the last change, at a name that never went away. Another one there replaced it."""
    expected = Adoption(seen(file_id), same, reason, replaced=not same and not left)
    assert adoption(KNOWN, VolumeId(1), seen(file_id), born_ns, left=left) == expected


@given(st.integers(6, 8), st.none() | st.integers(0, 400), st.booleans())
def test_knowing_less_never_makes_another_file_the_same(file_id: int, born_ns: int | None, left: bool) -> None:
    """A file that is the same is so whatever less is known of its name, and never has another number."""
    if adoption(KNOWN, VolumeId(1), seen(file_id), born_ns, left=left).same_file:
        assert file_id == KNOWN.file_id
        assert adoption(KNOWN, VolumeId(1), seen(file_id), None, left=False).same_file


@pytest.mark.parametrize(
    ("volume", "file_id", "born_ns", "kind", "again"),
    [
        (1, 5, None, Kind.DIRECTORY, False),
        (1, 5, 100, Kind.DIRECTORY, False),
        (1, 5, 101, Kind.DIRECTORY, True),
        (1, 6, None, Kind.DIRECTORY, True),
        (2, 6, 101, Kind.DIRECTORY, False),
        (1, 6, None, Kind.FILE, False),
    ],
)
def test_whether_a_directory_was_made_again(
    volume: int, file_id: int, born_ns: int | None, kind: Kind, *, again: bool
) -> None:
    """Another directory, or one that was made after the known one last changed; on another disk nothing can be told."""
    seen = Observation(Version(0, 0, 200, FileId(file_id)), VolumeId(volume), kind)
    assert made_again(CopyId(VolumeId(1), FileId(5)), 100, seen, born_ns) is again


def test_a_ctime_alone_is_no_other_content_and_no_proof_of_the_same() -> None:
    """Any other stamp that differs makes another version."""
    known = Version(3, 10, 20, FileId(5))
    others = [known._replace(size=4), known._replace(mtime_ns=11), known._replace(file_id=FileId(6))]
    assert restamped(known, known._replace(ctime_ns=21))
    assert not any(restamped(known, other._replace(ctime_ns=ctime)) for other in [known, *others] for ctime in (20,))
    assert not any(restamped(known, other._replace(ctime_ns=21)) for other in others)
