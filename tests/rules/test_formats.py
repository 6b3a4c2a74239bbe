"""What a file's content says about its writer, from files built by the letter of each format."""

import io
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from itertools import chain

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules.formats import FORMATS, Finding, State, companions, format_of, look

laws = settings(max_examples=300, deadline=None)
FINISHED, OPEN, TRUNCATED, CANNOT_TELL = State.FINISHED, State.OPEN, State.TRUNCATED, State.CANNOT_TELL
NO_WAL: dict[str, int] = {}
U64 = struct.Struct("<Q").pack


def of(format: str, data: bytes, beside: dict[str, int] | None = None) -> Finding:
    """A look at bytes in memory."""
    return look(format, lambda offset, length: data[offset : offset + length], len(data), beside)


def hdf5(
    version: int = 0,
    *,
    flags: int = 0,
    block: int = 0,
    stored: int | None = None,
    base: int | None = None,
    width: int = 8,
) -> bytes:
    """A superblock after a user block of `block` bytes, and data."""
    none, total = 256**width - 1, block + 1000
    numbers = [block if base is None else base, none, total if stored is None else stored, none]
    addresses = b"".join(number.to_bytes(width, "little") for number in numbers)
    if version < 2:
        head = (
            bytes([version, 0, 0, 0, 0, width, width, 0, 4, 0, 16, 0]) + struct.pack("<I", flags) + bytes(4 * version)
        )
    else:
        head = bytes([version, width, width, flags])
    return (bytes(block) + b"\x89HDF\r\n\x1a\n" + head + addresses).ljust(total, b"d")


def bgzf(data: bytes) -> bytes:
    """One block of a BAM file."""
    packer = zlib.compressobj(wbits=-15)
    packed = packer.compress(data) + packer.flush()
    head = b"\x1f\x8b\x08\x04\0\0\0\0\0\xff\x06\0BC\x02\0" + struct.pack("<H", len(packed) + 25)
    return head + packed + struct.pack("<II", zlib.crc32(data), len(data))


def pod5(footer: bytes = b"f" * 24, marker: bytes = b"m" * 16) -> bytes:
    """Signature, marker, a table, footer."""
    signature = b"\x8bPOD\r\n\x1a\n"
    table = signature + b"m" * 16 + b"ARROW1\0\0" * 10 + b"m" * 16
    return table + b"FOOTER\0\0" + footer + struct.pack("<q", len(footer)) + marker + signature


def czi(*, part: int = 0, directory: int | None = None, metadata: int | None = None, pending: int = 0) -> bytes:
    """File header, metadata, directory."""

    def segment(name: bytes, data: bytes, room: int = 0) -> bytes:
        return name.ljust(16, b"\0") + struct.pack("<qq", len(data) + room, len(data)) + data + bytes(room)

    places = (544 if metadata is None else metadata), (640 if directory is None else directory)
    header = bytes(48) + struct.pack("<iqqiq", part, places[1], places[0], pending, 0)
    whole = segment(b"ZISRAWFILE", header.ljust(512, b"\0")) + segment(b"ZISRAWMETADATA", bytes(64))
    return whole + segment(b"ZISRAWDIRECTORY", b"e" * 44, room=20)


def nd2(*, place: int | None = None) -> bytes:
    """Signature chunk, data, chunk map."""
    magic = b"\xda\xce\xbe\x0a"
    head = magic + struct.pack("<IQ", 32, 64) + b"ND2 FILE SIGNATURE CHUNK NAME01!" + b"Ver3.0".ljust(64, b"\0")
    data = head + b"pixels" * 50
    chunk = magic + struct.pack("<IQ", 32, 40) + b"ND2 FILEMAP SIGNATURE NAME 0001!"
    return data + chunk + b"ND2 CHUNK MAP SIGNATURE 0000001!" + U64(len(data) if place is None else place)


def ndtiff() -> bytes:
    """Three entries of an index."""
    axes, name = b'{"time": 7}', b"NDTiffStack.tif"
    numbers = struct.pack("<8I", 4096, 512, 512, 1, 0, 8192, 300, 0)
    return (struct.pack("<I", len(axes)) + axes + struct.pack("<I", len(name)) + name + numbers) * 3


def fcs(*, end: int | None = None, text: bytes = b"/$PAR/2/", version: bytes = b"FCS3.1", data: int = 400) -> bytes:
    """Header, TEXT, DATA."""
    begin = 58 + len(text)
    places = (58, begin - 1, begin, begin + data - 1) if end is None else (58, begin - 1, 0, end)
    header = version.ljust(10) + b"".join(b"%8d" % place for place in places) + b"       0" * 2
    return header + text + b"d" * data


def archive(*, comment: bytes = b"", files: int = 3) -> bytes:
    """A ZIP."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as out:
        out.comment = comment
        for number in range(files):
            out.writestr(f"{number}.txt", b"data" * 200)
    return buffer.getvalue()


def zip64() -> bytes:
    """A ZIP whose directory begins so late that its end record cannot say where, without what is before it."""
    plain = archive()
    at = plain.rindex(b"PK\5\6")
    count, length, offset = struct.unpack("<10xHII", plain[at : at + 20])
    record = b"PK\6\6" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, count, count, length, offset)
    locator = b"PK\6\7" + struct.pack("<IQI", 0, at, 1)
    return (
        plain[:at] + record + locator + b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, count, count, 2**32 - 1, 2**32 - 1, 0)
    )


def tar() -> bytes:
    """A tar."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as out:
        member = tarfile.TarInfo("x")
        member.size = 600
        out.addfile(member, io.BytesIO(b"d" * 600))
    return buffer.getvalue()


def mrc(*, order: str = "<", shape: tuple[int, int, int] = (7, 5, 3), mode: int = 1, extended: int = 0) -> bytes:
    """Header, extended header, sections."""
    head = struct.pack(f"{order}4i", *shape, mode).ljust(92, b"\0") + struct.pack(f"{order}i", extended)
    stamp = b"\x44\x44\0\0" if order == "<" else b"\x11\x11\0\0"
    return (head.ljust(208, b"\0") + b"MAP " + stamp).ljust(1024 + extended, b"\0") + b"d" * 210


def sqlite(*, pages: int = 3, wal: bool = True, said_by: int = 9) -> bytes:
    """A database's header, and pages of 512 bytes."""
    mode = 2 if wal else 1
    head = b"SQLite format 3\0" + struct.pack(">HBB", 512, mode, mode) + bytes(4) + struct.pack(">II", 9, pages)
    return (head.ljust(92, b"\0") + struct.pack(">I", said_by)).ljust(3 * 512, b"d")


XML = b'<?xml version="1.0" encoding="utf-8"?>\n<!-- <no> -->\n<indexedmzML a="b"><mzML>1</mzML><i/></indexedmzML>'
AUDITA = (
    b"##TITLE= Audit trail, TopSpin\n##AUDIT TRAIL= $$ (NUMBER, WHEN, WHO, WHERE, PROCESS, VERSION, WHAT)\n"
    b"(   1,<2024-03-01 02:47:09>,<u>,<h>,<go4>,<TOPSPIN 4.3>,<created by zg, data hash MD5: 4K * 12>)\n"
    b"(   2,<2024-03-01 03:47:09>,<u>,<h>,<go4>,<TOPSPIN 4.3>,<acquisition in progress>)\n"
)
AUDITA_END = (
    b"(   3,<2024-03-01 04:51:43>,<u>,<h>,<go4>,<TOPSPIN 4.3>,<created by zg\n   data hash MD5: 4K * 128>)\n##END=\n"
)
SUMMARY = b"instrument=MN1\nacquisition_stopped=2021-02-01T10:00:00Z\nfast5_files_in_final_dest=786\n"

WHOLE: dict[str, list[bytes]] = {
    "bam": [bgzf(b"BAM\1" + b"r" * 500) + bgzf(b"")],
    "czi": [czi(), czi(part=2)],
    "fcs": [fcs(), fcs(end=0, text=b"/$PAR/2/$enddata/ 489 /", data=409)],
    "hdf5": [
        *(hdf5(version, block=block) for version in range(4) for block in (0, 512, 2048)),
        hdf5(0, block=512, base=0, stored=1000),
        *(hdf5(version, width=width) for version in (0, 1, 2, 3) for width in (4, 16)),
    ],
    "nd2": [nd2()],
    "pod5": [pod5()],
    "xml": [
        XML, b"\xef\xbb\xbf" + XML, XML.decode().encode("utf-16"), b"<a/>", b"<a b='c' />",
        b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>" + b"x" * 9000 + b"</a>",
        "<a>".encode("utf-16") + ("é" * 5000 + "</a>").encode("utf-16-le"),
    ],
    "zip": [archive(), archive(comment=b"c" * 5000), archive(files=0), zip64()],
}  # fmt: skip
"""Finished files of the formats that leave a mark at close, with nothing after the mark."""

SEEDS = {
    **WHOLE,
    "audita": [AUDITA + AUDITA_END],
    "dm": [struct.pack(">II", 3, 184).ljust(200, b"d"), struct.pack(">IQ", 4, 176).ljust(200, b"d")],
    "final_summary": [SUMMARY],
    "mrc": [mrc(), mrc(order=">", extended=64)],
    "ndtiff": [ndtiff()],
    "sqlite": [sqlite(), sqlite(wal=False)],
    "tar": [tar()],
    "tiff": [b"II*\0" + struct.pack("<I", 8) + b"d" * 90, b"MM\0+\0\x08\0\0" + struct.pack(">Q", 16) + b"d" * 90],
}

whole = pytest.mark.parametrize(("format", "data"), [(name, data) for name, every in WHOLE.items() for data in every])


def test_every_format_has_files_here() -> None:
    """The laws below are about all of them."""
    assert SEEDS.keys() == FORMATS.keys()


@whole
def test_a_finished_file_is_finished(format: str, data: bytes) -> None:
    """In each of the shapes that the format allows."""
    assert of(format, data).state is FINISHED


@whole
def test_no_part_of_a_finished_file_is_finished(format: str, data: bytes) -> None:
    """A file that is still written, and a copy that broke off, at any byte."""
    lengths = chain(range(min(len(data), 700)), range(max(0, len(data) - 700), len(data)))
    assert {length for length in lengths if of(format, data[:length]).state is FINISHED} == set()


@pytest.mark.parametrize("format", ["bam", "nd2", "pod5", "xml", "zip"])
def test_a_copy_that_reserved_its_length_is_not_finished(format: str) -> None:
    """Formats whose mark is at the end see through zeros where the rest will be."""
    data = WHOLE[format][0]
    copies = (data[:length].ljust(len(data), b"\0") for length in range(len(data.rstrip(b"\0"))))
    assert FINISHED not in {of(format, copy).state for copy in copies}


NO_END = "has no end mark: still being written, left by a writer that was killed, or cut short"
NO_MAP = "has no chunk map at its end: still being written, left by a crash, or cut short"
ELSEWHERE = "has something else where its header says that the directory is"
LONGER = "an old HDF5 writer, or bytes appended"
NO_ROOM = "ends in the room that its directory does not use: some of it may be missing"
MARKED = "is marked as open for writing: its writer is at work, or was killed"
MRC_WHOLE = "has all 3 sections of its header, after which more may come"
NONE_WAITING = "has no changes waiting, which is so between two transactions, too"


def short(size: int, needed: int) -> Finding:
    """The finding about a file that is shorter than it says."""
    return Finding(TRUNCATED, f"has {size} bytes, but must have {needed} by its format or its own header")


UNFINISHED: list[tuple[str, bytes, Finding]] = [
    ("bam", WHOLE["bam"][0][:-28], Finding(OPEN, NO_END)),
    ("bam", b"@HD\tVN:1.6\n", Finding(CANNOT_TELL, "is no BAM file, by its first bytes")),
    ("bam", bytes(400), Finding(OPEN, "begins with zeros where a BAM file has its signature")),
    ("bam", b"", Finding(OPEN, "is empty")),
    ("hdf5", hdf5(0, flags=1), Finding(OPEN, MARKED)),
    ("hdf5", hdf5(1, flags=1), Finding(OPEN, MARKED)),
    ("hdf5", hdf5(2, flags=1, block=512), Finding(OPEN, MARKED)),
    ("hdf5", hdf5(3, flags=5), Finding(OPEN, "is marked as open for SWMR writing: its writer is at work, or was killed")),
    ("hdf5", hdf5(0, flags=1, stored=5000), Finding(OPEN, MARKED)),
    ("hdf5", hdf5(0)[:-1], short(999, 1000)),
    ("hdf5", hdf5(3)[:5], short(5, 9)),
    ("hdf5", hdf5(0) + b"x", Finding(CANNOT_TELL, f"goes on after its stored end at byte 1000: {LONGER}")),
    ("hdf5", hdf5(0, width=3), Finding(CANNOT_TELL, "has HDF5 addresses of 3 bytes, which is not known here")),
    ("hdf5", hdf5(4), Finding(CANNOT_TELL, "has an HDF5 superblock of version 4, which is not known here")),
    ("hdf5", bytes(5000), Finding(CANNOT_TELL, "has no HDF5 signature")),
    ("pod5", pod5(marker=b"n" * 16), Finding(CANNOT_TELL, "has an end mark that does not belong to its beginning")),
    ("czi", czi(directory=0), Finding(OPEN, "has no directory yet: still being written, or left by a writer that was killed")),
    ("czi", czi(metadata=0), Finding(OPEN, "has no metadata yet: still being written, or left by a writer that was killed")),
    ("czi", czi(pending=1), Finding(OPEN, "is marked as being updated")),
    ("czi", czi(part=3, directory=0), Finding(CANNOT_TELL, "is part 3 of several CZI files, which may have no directory")),
    ("czi", czi(directory=20), Finding(CANNOT_TELL, ELSEWHERE)),
    ("czi", czi(directory=2**63 - 1), short(736, 2**63 + 31)),
    ("czi", czi()[:640].ljust(736, b"\0"), Finding(CANNOT_TELL, ELSEWHERE)),
    ("czi", czi()[:-20], Finding(CANNOT_TELL, NO_ROOM)),
    ("czi", czi()[:-21], short(715, 716)),
    ("nd2", nd2(place=0), Finding(OPEN, NO_MAP)),
    ("nd2", nd2(place=1), Finding(OPEN, NO_MAP)),
    ("nd2", b"\0\0\0\x0cjP  " + b"d" * 90, Finding(CANNOT_TELL, "is an ND2 file of the old kind, which has no chunk map")),
    ("ndtiff", ndtiff() + bytes(9000), Finding(OPEN, "still has the space that its writer reserved")),
    ("ndtiff", ndtiff()[:-2], Finding(TRUNCATED, "ends inside an entry")),
    ("ndtiff", ndtiff(), Finding(CANNOT_TELL, "has whole entries, after which more may come")),
    ("tiff", b"II*\0\0\0\0\0" + b"d" * 90, Finding(OPEN, "has no image directory yet")),
    ("tiff", b"MM\0*\0\0\1\0" + b"d" * 90, short(98, 258)),
    ("tiff", SEEDS["tiff"][0], Finding(CANNOT_TELL, "is a TIFF, which does not say that its writer finished")),
    ("tiff", SEEDS["tiff"][1], Finding(CANNOT_TELL, "is a TIFF, which does not say that its writer finished")),
    ("tiff", b"MM\0+\0\x08\0\0" + struct.pack(">Q", 2**33), short(16, 2**33 + 2)),
    ("tiff", b"MM\0+\0\x08\0\0" + bytes(90), Finding(OPEN, "has no image directory yet")),
    ("tiff", bytes(90), Finding(OPEN, "begins with zeros where a TIFF file has its signature")),
    ("mrc", mrc(), Finding(CANNOT_TELL, MRC_WHOLE)),
    ("mrc", mrc(order=">", extended=64)[:-1], short(1297, 1298)),
    ("mrc", mrc(mode=3)[:1024].ljust(1444, b"d"), Finding(CANNOT_TELL, MRC_WHOLE)),
    ("mrc", mrc(mode=3)[:1024].ljust(1443, b"d"), short(1443, 1444)),
    ("mrc", mrc(mode=101, shape=(7, 5, 3))[:1084], Finding(CANNOT_TELL, MRC_WHOLE)),
    ("mrc", mrc(mode=101, shape=(7, 5, 3))[:1083], short(1083, 1084)),
    ("mrc", mrc(mode=7), Finding(CANNOT_TELL, "has dimensions or a mode (7) that are not known here")),
    ("dm", SEEDS["dm"][0], Finding(CANNOT_TELL, "is not shorter than its header says, which is all that it says")),
    ("dm", SEEDS["dm"][1][:90], short(90, 176)),
    ("fcs", fcs()[:-2], short(464, 465)),
    ("fcs", fcs()[:-1], Finding(CANNOT_TELL, "ends at the very byte that its header names as the last: one may be missing")),
    ("fcs", fcs(end=0, text=b"/$ENDDATA/99999999999/"), short(480, 99999999999)),
    ("fcs", fcs(end=0), Finding(CANNOT_TELL, "does not say where its data end, or not near its beginning")),
    ("fcs", b"FCS3.1    " + b"abcdefgh" * 9, Finding(CANNOT_TELL, "has an FCS header without numbers")),
    ("zip", archive()[:-50], Finding(OPEN, "has no directory at its end: still being written, or cut short")),
    ("zip", b"PK\3\4 another" + archive(), Finding(CANNOT_TELL, "has an end record that does not fit what is before it")),
    ("tar", tar(), Finding(CANNOT_TELL, "ends with zeros, as a finished tar does and as data may")),
    ("tar", tar()[:1200], Finding(OPEN, "does not end with two blocks of zeros: still being written, or cut short")),
    ("xml", XML + b" <!-- by msconvert -->\n", Finding(FINISHED, "ends with </indexedmzML>")),
    ("xml", XML[:-1], Finding(OPEN, "does not end with </indexedmzML>: still being written, or cut short")),
    ("xml", XML[: XML.index(b"<i/>")], Finding(OPEN, "does not end with </indexedmzML>: still being written, or cut short")),
    ("xml", XML + bytes(10), Finding(OPEN, "does not end with </indexedmzML>: still being written, or cut short")),
    ("xml", b"<?xml version='1.0'?>", Finding(OPEN, "has no root element yet")),
    ("xml", b"{}", Finding(CANNOT_TELL, "is no XML, by its first bytes")),
    ("xml", b"<!--" + b"x" * 5000 + b"--><a/>", Finding(CANNOT_TELL, "does not begin its root element in the first 4 KiB")),
    ("audita", AUDITA + AUDITA_END, Finding(FINISHED, "ends with the entry of a finished acquisition")),
    ("audita", AUDITA, Finding(OPEN, "ends with the entry of an acquisition in progress")),
    (
        "audita", AUDITA_END.replace(b">)", b", acquisition in progress>)"),
        Finding(OPEN, "ends with the entry of an acquisition in progress"),
    ),
    ("audita", AUDITA[:60], Finding(CANNOT_TELL, "ends with no entry that tells of an acquisition")),
    ("final_summary", SUMMARY, Finding(FINISHED, "says when the acquisition stopped")),
    ("final_summary", b"instrument=MN1\nacquisition_stopped=\nx=1\n", Finding(OPEN, "does not say when the acquisition stopped")),
    ("sqlite", sqlite(pages=4), short(1536, 2048)),
    ("sqlite", sqlite(pages=4, said_by=8), Finding(CANNOT_TELL, NONE_WAITING)),
    ("sqlite", sqlite(), Finding(CANNOT_TELL, NONE_WAITING)),
]  # fmt: skip


@pytest.mark.parametrize(("format", "data", "finding"), UNFINISHED)
def test_findings(format: str, data: bytes, finding: Finding) -> None:
    """State and words, case by case."""
    assert of(format, data) == finding


@pytest.mark.parametrize(
    ("wal", "beside", "state"),
    [
        (True, NO_WAL, FINISHED),
        (True, {"-wal": 32}, OPEN),
        (True, {"-wal": 0}, CANNOT_TELL),
        (True, None, CANNOT_TELL),
        (False, NO_WAL, CANNOT_TELL),
        (False, {"-journal": 512}, OPEN),
    ],
)
def test_a_database_is_judged_with_what_is_beside_it(wal: bool, beside: dict[str, int] | None, state: State) -> None:
    """Only a write-ahead log that its last user removed says that nobody has it open."""
    assert of("sqlite", sqlite(wal=wal), beside).state is state


def test_only_databases_have_companions() -> None:
    """The others are judged by themselves."""
    found = {name: companions(name) for name in FORMATS if companions(name)}
    assert found == {"sqlite": ("-wal", "-journal")}


def test_a_reserved_stack_is_open() -> None:
    """NDTiff: 4 GiB exactly, as Micro-Manager makes it, and nothing else of that size."""
    head = {"little": b"II*\0\x1c\0\0\0", "big": b"MM\0*\0\0\0\x1c"}
    for order, begin in head.items():
        for size, mark, state in ((2**32, 483729, OPEN), (2**32 - 1, 483729, CANNOT_TELL), (2**32, 1, CANNOT_TELL)):
            data = begin + mark.to_bytes(4, order)  # type: ignore[arg-type]
            assert look("tiff", lambda at, n, data=data: data[at : at + n].ljust(n, b"\0"), size).state is state  # type: ignore[misc]


# Hostile input


class Reader:
    """Bytes of which nothing outside is ever asked for; counts what is."""

    def __init__(self, data: bytes, stated: int) -> None:
        self.data, self.stated, self.total = data, stated, 0

    def __call__(self, offset: int, length: int) -> bytes:
        assert 0 <= offset < offset + length <= self.stated
        self.total += length
        return self.data[offset : offset + length]


@st.composite
def hostile(draw: st.DrawFn) -> tuple[str, bytes]:
    """A format, and one of its files with numbers overwritten, cut, doubled, or only its first bytes and noise."""
    format = draw(st.sampled_from(sorted(SEEDS)))
    data = bytearray(draw(st.sampled_from(SEEDS[format])))
    number = st.integers(0, 2**64 - 1) | st.sampled_from([0, 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1])
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, min(len(data), 256)) | st.integers(max(0, len(data) - 128), len(data)))
        put = draw(st.binary(max_size=12) | number.map(U64) | number.map(lambda n: (n % 2**32).to_bytes(4, "big")))
        data[at : at + len(put)] = put
    head, noise = draw(st.integers(0, len(data))), draw(st.binary(max_size=300))
    change: Callable[[bytes], bytes] = draw(
        st.sampled_from([lambda d: d, lambda d: d[:head], lambda d: d[:head] + noise, lambda d: d + d, lambda d: noise])
    )
    return format, change(bytes(data))


@laws
@given(hostile(), st.integers(-1, 2000))
def test_a_look_never_raises_never_reads_outside_and_reads_little(case: tuple[str, bytes], shift: int) -> None:
    """Whatever the bytes are, also when the file is shorter by then, or longer, than the size that was taken."""
    format, data = case
    for stated in (len(data), len(data) - shift, len(data) + shift, 2**62):
        reader = Reader(data, stated)
        finding = look(format, reader, stated, {"-wal": 0})
        assert isinstance(finding.state, State)
        assert finding.detail.isprintable()
        assert len(finding.detail) < 200
        assert reader.total <= (70_000 if format == "zip" else 6_000)


@laws
@given(hostile())
def test_a_reader_that_gives_more_than_asked_changes_nothing(case: tuple[str, bytes]) -> None:
    """What is behind is not looked at."""
    format, data = case
    assert look(format, lambda offset, length: data[offset:], len(data)) == of(format, data)


@given(st.sampled_from(sorted(SEEDS)))
def test_a_file_that_shrinks_meanwhile_cannot_be_told(format: str) -> None:
    """Nothing is concluded from bytes that are not there any more."""
    found = look(format, lambda offset, length: b"", 5000)
    assert found == Finding(CANNOT_TELL, "became shorter while it was looked at")


@pytest.mark.parametrize(
    "text", [b"<?a?>" * 800, b"<!DOCTYPE a [" + b"]" * 4000, b"<!--" * 1000, b"<a>" + b"</a " * 300]
)
def test_hostile_xml_costs_no_more(text: bytes) -> None:
    """No pattern is tried in a number of ways that grows with its repetitions (it would not end within the test run)."""
    assert of("xml", text).state is OPEN


def test_errors_of_the_reader_are_passed_on() -> None:
    """A disk that fails is the caller's business, and an unknown format the programmer's."""

    def fail(offset: int, length: int) -> bytes:
        raise OSError(5, "Input/output error")

    with pytest.raises(OSError, match="Input/output"):
        look("hdf5", fail, 100)
    with pytest.raises(KeyError):
        look("thermo", fail, 100)


# Names


@pytest.mark.parametrize(
    ("name", "format"),
    [
        ("scan_0001.h5", "hdf5"), ("a/b/SCAN.NXS", "hdf5"), ("x.ims", "hdf5"), ("x.hdf", "hdf5"), ("x.h5.tmp", None),
        ("PAA12345_fd97ea7b_0f1d7e9e_57.pod5", "pod5"), ("m84.hifi_reads.bc2004.bam", "bam"), ("m84.bam.pbi", None),
        ("brain (2).czi", "czi"), ("x.nd2", "nd2"), ("NDTiff.index", "ndtiff"), ("d/NDTiff.index", "ndtiff"), ("x.index", None),
        ("a_NDTiffStack_1.tif", "tiff"), ("FoilHole_1_EER.eer", "tiff"), ("x_fractions.tiff", "tiff"), ("ts_003.mrc", "mrc"),
        ("ts_003.mrc.mdoc", None), ("x.dm4", "dm"), ("Specimen_001.fcs", "fcs"), ("reports.ZIP", "zip"), ("x.zarr.tar", "tar"),
        ("s.d/analysis.tdf", "sqlite"), ("s.d/analysis.tdf_bin", None), ("x.mzML", "xml"), ("RunCompletionStatus.xml", "xml"),
        ("10/audita.txt", "audita"), ("myaudita.txt", None), ("final_summary_PAA1_f_0.txt", "final_summary"),
        ("final_summary/x.txt", None), ("x.raw", None), ("", None), ("h5", None), ("x.h5\n", None),
    ],
)  # fmt: skip
def test_names_tell_the_format(name: str, format: str | None) -> None:
    """By how they end, whatever their case."""
    assert format_of(name) == format
