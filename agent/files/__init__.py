"""The only code that opens, renames, flushes or deletes files that are not the agent's own."""

import sys
from typing import Final

from agent.errors import Whose
from agent.files.tree import Files, Handle, Held, Listed, Tree
from agent.files.trouble import ABSENT, Absent, CannotTell, Look, NotAFile, OtherVersion, Trouble, What
from agent.files.volumes import Location, Space, Volume

if sys.platform == "win32":
    from agent.files.windows.files import FILES as _HERE
else:
    from agent.files.posix import PosixFiles

    _HERE = PosixFiles()

LOCAL: Final[Files] = _HERE
"""The files of this computer."""

__all__ = [
    "ABSENT",
    "LOCAL",
    "Absent",
    "CannotTell",
    "Files",
    "Handle",
    "Held",
    "Listed",
    "Location",
    "Look",
    "NotAFile",
    "OtherVersion",
    "Space",
    "Tree",
    "Trouble",
    "Volume",
    "What",
    "Whose",
]
