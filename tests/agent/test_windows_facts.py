"""What Windows says, and what it means: without a Windows."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.files.trouble import Trouble, What
from agent.files.volumes import Volume
from agent.files.windows import errors
from agent.files.windows.facts import entries, kind_of, nanoseconds, native, new_part, part, target, ticks
from rules.model import Kind


@pytest.mark.parametrize("error", [51, 53, 54, 59, 64, 67, 121, 1231, 1326])
def test_a_share_that_cannot_be_reached_says_nothing_of_a_file(error: int) -> None:
    """It is neither absent, nor is its name bad, as Python has it."""
    what = errors.meaning(error)
    assert what in (What.NO_ANSWER, What.STALE)
    assert not errors.says_nothing_there(Trouble(what, ""))


@pytest.mark.parametrize(
    ("error", "status", "what"),
    [
        (2, 0xC0000034, What.ABSENT), (3, 0xC000003A, What.ABSENT), (32, 0xC0000043, What.BUSY), (5, 0xC0000056, What.BUSY),
        (5, 0xC0000022, What.DENIED), (5, 0xC00000BA, What.DIRECTORY), (5, 0xC0000121, What.NOT_PERMITTED),
        (183, 0xC0000035, What.EXISTS), (112, 0xC000007F, What.FULL), (1117, 0, What.DAMAGED), (4242, 0, What.OTHER),
    ],
)  # fmt: skip
def test_an_error_is_one_thing(error: int, status: int, what: What) -> None:
    """What a file that is being removed, a directory and a permission have in common as an error, their NTSTATUS tells apart."""
    assert errors.meaning(error, status) is what


@pytest.mark.parametrize(
    ("attributes", "tag", "kind"),
    [
        (0x20, 0, Kind.FILE), (0x10, 0, Kind.DIRECTORY), (0x410, 0xA000000C, Kind.LINK), (0x410, 0xA0000003, Kind.LINK),
        (0x420, 0x80000013, Kind.FILE), (0x420, 0x80000017, Kind.FILE), (0x400020, 0, Kind.PLACEHOLDER),
        (0x40020, 0, Kind.PLACEHOLDER), (0x1020, 0, Kind.PLACEHOLDER), (0x410, 0x9000301A, Kind.DIRECTORY),
    ],
)  # fmt: skip
def test_what_stands_for_another_name_is_a_link(attributes: int, tag: int, kind: Kind) -> None:
    """A deduplicated or compressed file is a file; one whose content a cloud service keeps is none that may be read."""
    assert kind_of(attributes, tag) is kind


@pytest.mark.parametrize(
    "name", ["CON", "nul.txt", "Com1.dat", "LPT¹", "trail.", "trail ", "a:b", "a?b", "a\\b", "\x01", "", ".."]
)
def test_no_name_is_made_that_windows_takes_for_another(name: str) -> None:
    """A device, a stream, a name without its last dot."""
    with pytest.raises(Trouble) as raised:
        new_part(name)
    assert raised.value.what in (What.NAME_REFUSED, What.NAME_CHARACTERS)


@pytest.mark.parametrize("name", ["trail.", "CON", "a?b", "\ud800"])
def test_a_name_that_is_there_is_looked_at(name: str) -> None:
    """Other programs may have made it."""
    assert part(name) == name


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("C:/data/x", r"\??\C:\data\x"), ("C:/", "\\??\\C:\\"), ("C:", "\\??\\C:\\"),
        ("//server/share/x", r"\??\UNC\server\share\x"),
        (r"\\?\C:\data", r"\??\C:\data"), (r"\\?\UNC\server\share", r"\??\UNC\server\share"),
    ],
)  # fmt: skip
def test_a_path_is_named_in_full(path: str, found: str) -> None:
    """However long it is: no rule of shorter paths applies."""
    assert native(path) == found


@pytest.mark.parametrize("path", ["data/x", "/data/x", "C:data", "C:/a/../b"])
def test_a_path_that_depends_on_something_is_refused(path: str) -> None:
    """On a current directory or drive."""
    with pytest.raises(Trouble):
        native(path)


@given(st.integers(0, 2**62))
def test_times_come_back(time: int) -> None:
    """To the 100 nanoseconds that Windows keeps."""
    assert nanoseconds(ticks(time)) == time // 100 * 100


@given(st.lists(st.tuples(st.text(min_size=1, max_size=20), st.integers(0, 2**40)), max_size=6))
def test_a_listing_has_every_entry(listed: list[tuple[str, int]]) -> None:
    """Each as the directory has it, with lone surrogates, and without itself and the one above."""
    listed = [(name, size) for name, size in listed if name not in (".", "..")]
    block = b""
    for number, (name, size) in enumerate([(".", 0), ("..", 0), *listed]):
        encoded = name.encode("utf-16-le", "surrogatepass")
        room = (104 + len(encoded) + 7) // 8 * 8
        following = room if number <= len(listed) else 0
        head = struct.pack("<IIqqqqqqIII", following, 0, 0, 0, 5, 7, size, 0, 0x20, len(encoded), 0)
        block += (head.ljust(96, b"\0") + struct.pack("<Q", number) + encoded).ljust(room, b"\0")
    assert [(one.name, one.size, one.written, one.changed) for one in entries(block)] == [
        (name, size, 5, 7) for name, size in listed
    ]


@pytest.mark.parametrize(("tag", "flags"), [(0xA000000C, b"\0\0\0\0"), (0xA0000003, b"")])
def test_a_link_says_where_it_leads(tag: int, flags: bytes) -> None:
    """A symbolic link and a junction, as they are shown to people."""
    real, shown = (name.encode("utf-16-le") for name in (r"\??\C:\data", r"C:\data"))
    head = struct.pack("<IHH4H", tag, 0, 0, 0, len(real), len(real), len(shown))
    assert target(head + flags + real + shown) == r"C:\data"


@pytest.mark.parametrize(
    ("volume", "share"),
    [
        (Volume("smb3", "Z:/", "z:", source="//server/raw"), "//server/raw"),
        (Volume("smb3", "Z:/", "z:", source="Z:/"), None),
        (Volume("ntfs", "C:/", "1f", source="C:/"), None),
        (Volume("smb3", "//server/raw/", "//server/raw", source="//server/raw/"), None),
        (Volume("cifs", "/mnt/raw", "0:41", source="//server/raw"), None),
    ],
)
def test_a_drive_letter_of_a_share_belongs_to_one_login(volume: Volume, share: str | None) -> None:
    """Any other path is the same for a service."""
    assert volume.mapped == share
