"""What an access control list of Windows lets others do with a file, as the bits of a mode."""

import hashlib
import struct
from collections.abc import Iterable
from typing import Final, NamedTuple

TRUSTED: Final = frozenset({"S-1-5-18", "S-1-5-32-544", "S-1-3-4", "S-1-3-0"})
"""The system, administrators, and the owner of the file, under two names."""
_ACCOUNTS: Final = {
    "LOCALSYSTEM": "S-1-5-18", "SYSTEM": "S-1-5-18", "LOCALSERVICE": "S-1-5-19", "NETWORKSERVICE": "S-1-5-20",
}  # fmt: skip
_INSTALLER: Final = "S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464"
"""TrustedInstaller: the owner of what belongs to Windows."""
_ANYBODY: Final = frozenset(
    {
        "S-1-1-0", "S-1-2-0", "S-1-5-2", "S-1-5-3", "S-1-5-4", "S-1-5-6", "S-1-5-7", "S-1-5-11", "S-1-5-32-545",
        "S-1-5-32-546", "S-1-15-2-1", "S-1-15-2-2",
    }
)  # fmt: skip
"""Everyone, users of this computer, users by the way they came in, guests, every app."""
_DOMAIN: Final = ("-513", "-514", "-515")
"""Ends of the groups with every user, guest and computer of a domain."""
_READS: Final = 0x1 | 0x80000000 | 0x10000000
"""FILE_READ_DATA, GENERIC_READ, GENERIC_ALL."""
_WRITES: Final = 0x2 | 0x4 | 0x40 | 0x10000 | 0x40000 | 0x80000 | 0x40000000 | 0x10000000
"""FILE_WRITE_DATA, FILE_APPEND_DATA, FILE_DELETE_CHILD, DELETE, WRITE_DAC, WRITE_OWNER, GENERIC_WRITE, GENERIC_ALL."""


class Grant(NamedTuple):
    """An entry of a list that allows something."""

    sid: str
    """The account or group."""
    mask: int


def sid_of(account: str) -> str | None:
    """The SID of an account that every Windows has, or of a service; None: the system must be asked."""
    authority, _, name = account.upper().rpartition("\\")
    if authority == "NT SERVICE":
        parts = struct.unpack("<5I", hashlib.sha1(name.encode("utf-16-le"), usedforsecurity=False).digest())
        return "-".join(["S-1-5-80", *map(str, parts)])
    return _ACCOUNTS.get(name.replace(" ", "")) if authority in ("", "NT AUTHORITY") else None


def is_trusted(sid: str, user: str) -> bool:
    """Whether an account may own the agent's files: the system, administrators and `user`, which the agent runs as."""
    return sid in TRUSTED or sid in (user, _INSTALLER)


def mode(grants: Iterable[Grant] | None, user: str) -> int:
    """The bits of a mode that a list comes to: those of others for groups that hold everybody, those of the group for the rest.

    What an entry denies is not subtracted: the answer never is less than what is allowed.

    Args:
        grants: what the list allows; None: the file has no list, so that everybody may do everything.
        user: the account that the agent runs as.
    """
    if grants is None:
        return 0o066
    bits = 0
    for sid, mask in grants:
        if is_trusted(sid, user):
            continue
        one = (4 if mask & _READS else 0) | (2 if mask & _WRITES else 0)
        anybody = sid in _ANYBODY or (sid.startswith("S-1-5-21-") and sid.endswith(_DOMAIN))
        bits |= one if anybody else one << 3
    return bits
