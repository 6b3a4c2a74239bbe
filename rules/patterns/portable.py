"""Names that NTFS, exFAT, FAT and SMB refuse, and what may stand in their place."""

import re

_CHARACTERS = re.compile(r'[<>:"|?*\\\x00-\x1f]')
_RESERVED = re.compile(
    r"(CON|PRN|AUX|NUL|COM[1-9\u00b9\u00b2\u00b3]|LPT[1-9\u00b9\u00b2\u00b3])(?=\s*(\.|$))", re.IGNORECASE
)
_END = re.compile(r"[. ]+$")
_DRIVE = re.compile(r"[A-Za-z]:(?=/|$)")
_SHARE = re.compile(r"//[^/?.][^/]*/[^/]+")
_LONG = re.compile(r"//\?/(UNC/)?", re.IGNORECASE)
"""How Windows begins paths that may be longer than 260 characters. The agent's may always be."""


def refused(path: str) -> str | None:
    """Why file systems of Windows refuse a relative path; None: they take it, as far as its names show."""
    for name in path.split("/"):
        found = _CHARACTERS.search(name)
        if found is not None:
            return f"{name!r} has the character {found[0]!r}"
        if _END.search(name):
            return f"{name!r} ends with {name[-1]!r}"
        reserved = _RESERVED.match(name)
        if reserved is not None:
            return f"{reserved[1]!r} is a reserved name"
    return None


def accepted(path: str, instead: str) -> str:
    """The path with a character in place of each that they refuse, and behind each reserved name.

    `instead`: a character that they take.
    """
    return "/".join(_accepted(name, instead) for name in path.split("/"))


def _accepted(name: str, instead: str) -> str:
    name = _CHARACTERS.sub(instead, name)
    name = _END.sub(lambda found: instead * len(found[0]), name)
    return _RESERVED.sub(lambda found: found[1] + instead, name, count=1) if _RESERVED.match(name) else name


def check_instead(instead: str) -> str:
    """The character itself. Raises ValueError where it may not stand in a name."""
    if len(instead) != 1 or instead == "/" or not instead.isprintable() or refused(instead) is not None:
        raise ValueError('write one character that every file system takes, for example "_"')
    return instead


def windows_path(path: str) -> str:
    r"""An absolute path of Windows as the agent writes it: "/" between its parts, its drive in upper case, without `\\?\`.

    Raises ValueError where it depends on a current directory, or where programs of Windows would read another name in it.
    """
    plain = _LONG.sub(lambda found: "//" if found[1] else "", path.replace("\\", "/"), count=1)
    top = _DRIVE.match(plain) or _SHARE.match(plain)
    if top is None:
        raise ValueError(
            r"is not a whole path; write its drive and root, as in 'D:\data', or its share, as in '\\server\share'"
        )
    why = refused(plain[top.end() :])
    if why is not None:
        raise ValueError(f"cannot be a path on Windows: {why}")
    below = plain[top.end() :].rstrip("/")
    return top[0] + below if top[0].startswith("//") else top[0].upper() + (below or "/")
