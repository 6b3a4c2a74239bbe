"""Does a file's own content say that its writer finished?

A look reads a few numbers, usually less than 1 KiB, and takes no lock. What it finds is evidence beside the open-writer
probe and the quiet period, never instead of them: each probe says what its format cannot tell.
"""

import re
from collections.abc import Callable, Mapping

from rules.formats.archives import tar, zip_archive
from rules.formats.content import Beyond, Changed, Content, Finding, Read, State
from rules.formats.cytometry import fcs
from rules.formats.hdf5 import hdf5
from rules.formats.images import dm, mrc, tiff
from rules.formats.microscopy import czi, nd2, ndtiff
from rules.formats.sequencing import bam, pod5
from rules.formats.sqlite import COMPANIONS, sqlite
from rules.formats.text import audita, final_summary, xml

__all__ = ["FORMATS", "Finding", "Read", "State", "companions", "format_of", "look"]

FORMATS: Mapping[str, tuple[Callable[[Content], Finding], str]] = {
    "audita": (audita, r"(?:^|/)audita\.txt"),
    "bam": (bam, r"\.bam"),
    "czi": (czi, r"\.czi"),
    "dm": (dm, r"\.dm[34]"),
    "fcs": (fcs, r"\.fcs"),
    "final_summary": (final_summary, r"(?:^|/)final_summary[^/]*\.txt"),
    "hdf5": (hdf5, r"\.(?:h5|hdf5?|he5|nxs|nexus|emd|ims|nwb|nc|cxi|fast5)"),
    "mrc": (mrc, r"\.mrcs?"),
    "nd2": (nd2, r"\.nd2"),
    "ndtiff": (ndtiff, r"(?:^|/)ndtiff\.index"),
    "pod5": (pod5, r"\.pod5"),
    "sqlite": (sqlite, r"\.(?:tdf|tsf|sqlite3?)"),
    "tar": (tar, r"\.tar"),
    "tiff": (tiff, r"\.(?:tiff?|tf[28]|btf|eer)"),
    "xml": (xml, r"\.(?:xml|mzml|mzxml|imzml|xlif|xlef)"),
    "zip": (zip_archive, r"\.(?:zip|npz|xlsx)"),
}
"""The name of each format → its probe, and how names of such files end."""

_NAMES = re.compile("|".join(rf"(?P<{name}>{ending}\Z)" for name, (_, ending) in FORMATS.items()), re.IGNORECASE)


def format_of(name: str) -> str | None:
    """The format that a file of this name or path most likely has; None where no probe is known."""
    found = _NAMES.search(name)
    return found.lastgroup if found else None


def companions(format: str) -> tuple[str, ...]:
    """What `look` wants to know of the files beside: endings that follow the whole name."""
    return COMPANIONS if format == "sqlite" else ()


def look(format: str, read: Read, size: int, beside: Mapping[str, int] | None = None) -> Finding:
    """What a file's content says about its writer.

    Args:
        format: a key of FORMATS. Raises KeyError for another.
        read: gives bytes of the file. What it raises is passed on; nothing else is raised, whatever the content.
        size: the file's size in bytes, taken before.
        beside: ending → size in bytes of the `companions` that exist; None where nobody looked.
    """
    probe, _ = FORMATS[format]
    if size <= 0:
        return Finding(State.OPEN, "is empty")
    try:
        return probe(Content(read, size, beside))
    except Beyond as error:
        return Finding(State.TRUNCATED, f"has {size} bytes, but must have {error.end} by its format or its own header")
    except Changed:
        return Finding(State.CANNOT_TELL, "became shorter while it was looked at")
