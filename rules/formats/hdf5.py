"""HDF5 and what is built on it (NeXus, Imaris, Velox, NWB, netCDF-4): flags and length in the superblock.

Layout: HDF5 File Format Specification, II.A; the flags are H5F_SUPER_WRITE_ACCESS and H5F_SUPER_SWMR_ACCESS of
H5Fpkg.h. libhdf5 from 1.10 on sets them in superblocks of every version and leaves them when it is killed (measured
with 1.10.8 and 2.0.0). libhdf5 1.8 and writers that are not libhdf5 may never set them, so clear flags are what a
finished file must have, not what proves it.
"""

from rules.formats.content import Content, Finding, State

SIGNATURE = b"\x89HDF\r\n\x1a\n"
_WRITE, _SWMR = 0x01, 0x04
_WIDTHS = (2, 4, 8, 16, 32)


def hdf5(content: Content) -> Finding:
    """At most 60 reads of 8 bytes (user blocks), then some 20 numbers."""
    start = _start(content)
    if start is None:
        # Zeros are no sign of an unwritten header here: the parts of split and family files have none, and a user
        # block is zeros; libhdf5 writes the superblock before anything else.
        return Finding(State.CANNOT_TELL, "has no HDF5 signature")
    version = content.number(start + 8, 1)
    if version > 3:
        return Finding(State.CANNOT_TELL, f"has an HDF5 superblock of version {version}, which is not known here")
    old = version < 2
    width = content.number(start + (13 if old else 9), 1)
    if width not in _WIDTHS:
        return Finding(State.CANNOT_TELL, f"has HDF5 addresses of {width} bytes, which is not known here")
    flags = content.number(start + 20, 4) if old else content.number(start + 11, 1)
    if flags & (_WRITE | _SWMR):
        how = "for SWMR writing" if flags & _SWMR else "for writing"
        return Finding(State.OPEN, f"is marked as open {how}: its writer is at work, or was killed")
    first = start + (24 + 4 * version if old else 12)
    base, second, stored, fourth = (content.number(first + i * width, width) for i in range(4))
    driver = fourth if old else second  # the driver information block; the superblock extension, which may hold it
    if driver != 256**width - 1 and b"NCSA" in content.some(start + driver, 128):
        return Finding(State.CANNOT_TELL, "is one part of an HDF5 file that is split over several")
    end = stored - base + start  # h5jam puts a user block before a file and corrects neither number
    content.require(end)
    if end < content.size:
        return Finding(
            State.CANNOT_TELL, f"goes on after its stored end at byte {end}: an old HDF5 writer, or bytes appended"
        )
    return Finding(State.FINISHED, "is marked as closed, and has its stored length")


def _start(content: Content) -> int | None:
    """Where the superblock is: at 0, or after a user block, at 512, 1024, 2048 and so on."""
    if content.begins(SIGNATURE):
        return 0
    offset = 512
    while offset < content.size:
        if content.some(offset, len(SIGNATURE)) == SIGNATURE:
            return offset
        offset *= 2
    return None
