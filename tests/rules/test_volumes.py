"""Is it the same file system, and is it the very version that is known?"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.model import STABLE_VOLUME, FileId, Kind, Observation, Version, VolumeId
from rules.versions.identity import Adoption, adoption
from rules.versions.volumes import SameVolume, same_volume, unchanged

FINE = Version(10, 100, 200_000_000_001, FileId(7))
COARSE = FINE._replace(ctime_ns=200_000_000_000)
PASSING, OTHER_PASSING = VolumeId(5), VolumeId(6)
STABLE, OTHER_STABLE = VolumeId(5 | STABLE_VOLUME), VolumeId(6 | STABLE_VOLUME)
volumes = st.sampled_from([PASSING, OTHER_PASSING, STABLE, OTHER_STABLE])


@pytest.mark.parametrize(
    ("before", "now", "answer"),
    [
        (PASSING, PASSING, SameVolume.YES),
        (STABLE, STABLE, SameVolume.YES),
        (STABLE, OTHER_STABLE, SameVolume.NO),
        (PASSING, OTHER_PASSING, SameVolume.CANNOT_TELL),
        (PASSING, STABLE, SameVolume.CANNOT_TELL),
        (STABLE, PASSING, SameVolume.CANNOT_TELL),
        (STABLE, None, SameVolume.CANNOT_TELL),
    ],
)
def test_only_what_is_written_on_the_disk_says_no(before: VolumeId, now: VolumeId | None, answer: SameVolume) -> None:
    """A number that holds as long as a mount does may be another one after the next mount."""
    assert same_volume(before, now) is answer


@pytest.mark.parametrize(
    ("known", "volume", "now", "same"),
    [
        (FINE, STABLE, STABLE, True),
        (COARSE, STABLE, STABLE, True),
        (FINE, STABLE, OTHER_STABLE, False),
        (FINE, PASSING, OTHER_PASSING, True),
        (COARSE, PASSING, OTHER_PASSING, False),
        (COARSE, PASSING, PASSING, True),
    ],
)
def test_a_fine_ctime_proves_a_remount(known: Version, volume: VolumeId, now: VolumeId, same: bool) -> None:
    """The same stamps on another disk are another file; coarse ones tell nothing where the disk cannot be told."""
    assert unchanged(known, volume, Observation(known, now, Kind.FILE)) is same


@given(volumes, volumes, st.sampled_from([FINE, COARSE]), st.sampled_from(["size", "mtime_ns", "ctime_ns", "file_id"]))
def test_what_moved_is_never_unchanged(before: VolumeId, now: VolumeId, known: Version, what: str) -> None:
    """Each part of a version counts, on whatever file system."""
    moved = known._replace(**{what: getattr(known, what) + 1})
    assert not unchanged(known, before, Observation(moved, now, Kind.FILE))


@given(volumes, volumes, st.none() | st.integers(0, 400), st.booleans())
def test_a_file_id_tells_nothing_on_another_file_system(
    before: VolumeId, now: VolumeId, born_ns: int | None, left: bool
) -> None:
    """A reading is of the known file only where the file system is surely the same."""
    seen = Observation(FINE._replace(size=11), now, Kind.FILE)
    taken = adoption(FINE, before, seen, born_ns, left=left)
    if before != now:
        reason = "the name was away in between" if left else same_volume(before, now).value
        assert taken == Adoption(seen, False, reason)
    elif not left and born_ns is None:
        assert taken.same_file
