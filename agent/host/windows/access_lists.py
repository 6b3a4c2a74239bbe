"""Reads and sets the owner and the access control list of files."""

import ctypes
import os
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final, NamedTuple

from agent.host.windows import access
from agent.host.windows.access import Grant
from agent.host.windows.advapi import advapi, must

_windows: Any = ctypes
"""Other systems have none of its names, and the types are checked there."""
_Where = str | os.PathLike[str] | int
_FILE_OBJECT: Final = 1
_OWNER_AND_LIST: Final = 0x1 | 0x4
_SET_LIST: Final = 0x80000004
"""PROTECTED_DACL_SECURITY_INFORMATION and DACL_SECURITY_INFORMATION."""
_NO_LISTS: Final = (1, 50)
"""ERROR_INVALID_FUNCTION, ERROR_NOT_SUPPORTED: the file system keeps none."""
_INHERIT_ONLY: Final = 0x8
_ALLOWED: Final = (0, 9)
"""ACCESS_ALLOWED_ACE_TYPE and the same with a condition, which counts as met."""


class Security(NamedTuple):
    """Who has a file."""

    owner: str | None
    """None: the file system keeps no owners."""
    grants: list[Grant] | None
    """None: the file has no list, so that everybody may do everything."""


class _Sizes(ctypes.Structure):
    _fields_ = (("count", ctypes.c_uint32), ("used", ctypes.c_uint32), ("free", ctypes.c_uint32))


class _Entry(ctypes.Structure):
    _fields_ = (
        ("kind", ctypes.c_uint8), ("flags", ctypes.c_uint8), ("size", ctypes.c_uint16), ("mask", ctypes.c_uint32),
        ("sid", ctypes.c_uint32),
    )  # fmt: skip


class _Attributes(ctypes.Structure):
    _fields_ = (("size", ctypes.c_uint32), ("descriptor", ctypes.c_void_p), ("inherit", ctypes.c_int))


@lru_cache(maxsize=1)
def _api() -> Any:
    api = advapi()
    pointer, number, text = ctypes.c_void_p, ctypes.c_uint32, ctypes.c_wchar_p
    outs = [pointer] * 5
    api.GetNamedSecurityInfoW.argtypes = [text, number, number, *outs]
    api.GetSecurityInfo.argtypes = [pointer, number, number, *outs]
    api.GetAclInformation.argtypes = [pointer, pointer, number, number]
    api.GetAce.argtypes = [pointer, number, pointer]
    api.ConvertSidToStringSidW.argtypes = [pointer, pointer]
    api.ConvertStringSecurityDescriptorToSecurityDescriptorW.argtypes = [text, number, pointer, pointer]
    api.SetNamedSecurityInfoW.argtypes = [text, number, number, pointer, pointer, pointer, pointer]
    api.SetFileSecurityW.argtypes = [text, number, pointer]
    api.GetSecurityDescriptorDacl.argtypes = [pointer, pointer, pointer, pointer]
    api.OpenProcessToken.argtypes = [pointer, number, pointer]
    api.GetTokenInformation.argtypes = [pointer, number, pointer, number, pointer]
    api.LookupAccountNameW.argtypes = [text, text, pointer, pointer, pointer, pointer, pointer]
    return api


@lru_cache(maxsize=1)
def _kernel() -> Any:
    kernel = _windows.WinDLL("kernel32", use_last_error=True)
    kernel.LocalFree.argtypes = kernel.CloseHandle.argtypes = [ctypes.c_void_p]
    kernel.CreateDirectoryW.argtypes = [ctypes.c_wchar_p, ctypes.c_void_p]
    return kernel


def read(where: _Where) -> Security:
    """The owner and the list of a path or an open file. A link is followed. Raises OSError."""
    api = _api()
    owner, entries, descriptor = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_void_p()
    outs = (ctypes.byref(owner), None, ctypes.byref(entries), None, ctypes.byref(descriptor))
    if isinstance(where, int):
        from msvcrt import get_osfhandle  # type: ignore[attr-defined]

        error = api.GetSecurityInfo(get_osfhandle(where), _FILE_OBJECT, _OWNER_AND_LIST, *outs)
    else:
        error = api.GetNamedSecurityInfoW(os.path.abspath(where), _FILE_OBJECT, _OWNER_AND_LIST, *outs)
    if error in _NO_LISTS:
        return Security(None, None)
    if error:
        raise _windows.WinError(error)
    try:
        return Security(_text(owner) if owner else None, list(_grants(entries)) if entries else None)
    finally:
        _kernel().LocalFree(descriptor)


def _grants(entries: ctypes.c_void_p) -> Iterator[Grant]:
    sizes, at = _Sizes(), ctypes.c_void_p()
    must(_api().GetAclInformation(entries, ctypes.byref(sizes), ctypes.sizeof(sizes), 2))
    for number in range(sizes.count):
        must(_api().GetAce(entries, number, ctypes.byref(at)))
        entry = ctypes.cast(at, ctypes.POINTER(_Entry)).contents
        if entry.kind in _ALLOWED and not entry.flags & _INHERIT_ONLY:
            yield Grant(_text(ctypes.c_void_p((at.value or 0) + _Entry.sid.offset)), entry.mask)


@lru_cache(maxsize=1)
def user() -> str:
    """The account that this process runs as. Raises OSError."""
    token, needed = ctypes.c_void_p(), ctypes.c_uint32()
    must(_api().OpenProcessToken(ctypes.c_void_p(-1), 0x8, ctypes.byref(token)))  # TOKEN_QUERY
    try:
        answer = ctypes.create_string_buffer(256)  # longer than any TOKEN_USER
        must(_api().GetTokenInformation(token, 1, answer, len(answer), ctypes.byref(needed)))
        return _text(ctypes.c_void_p.from_buffer(answer))
    finally:
        _kernel().CloseHandle(token)


def sid_of(account: str) -> str:
    """The SID of an account by its name. Raises OSError where there is none."""
    known = access.sid_of(account)
    if known is not None:
        return known
    sid, domain = ctypes.create_string_buffer(68), ctypes.create_unicode_buffer(256)
    sizes = ctypes.c_uint32(len(sid)), ctypes.c_uint32(len(domain))
    use = ctypes.c_uint32()
    must(
        _api().LookupAccountNameW(
            None, account, sid, ctypes.byref(sizes[0]), domain, ctypes.byref(sizes[1]), ctypes.byref(use)
        )
    )
    return _text(ctypes.cast(sid, ctypes.c_void_p))


def _text(sid: ctypes.c_void_p) -> str:
    found = ctypes.c_void_p()
    must(_api().ConvertSidToStringSidW(sid, ctypes.byref(found)))
    try:
        return ctypes.wstring_at(found.value or 0)
    finally:
        _kernel().LocalFree(found)


def _described(accounts: tuple[str, ...]) -> ctypes.c_void_p:
    """A protected list in memory: full access for the owner, the system, administrators and these accounts; nothing inherited."""
    names = ("OW", "SY", "BA", *accounts)
    descriptor = ctypes.c_void_p()
    text = "D:P" + "".join(f"(A;OICI;FA;;;{name})" for name in names)
    must(_api().ConvertStringSecurityDescriptorToSecurityDescriptorW(text, 1, ctypes.byref(descriptor), None))
    return descriptor


def keep_to(path: str | os.PathLike[str], *accounts: str) -> None:
    """Let only the owner, the system, administrators and these accounts use a file, or a directory with what is made in it.

    `accounts`: SIDs. Raises OSError.
    """
    descriptor = _described(accounts)
    try:
        entries, present, default = ctypes.c_void_p(), ctypes.c_int(), ctypes.c_int()
        outs = ctypes.byref(present), ctypes.byref(entries), ctypes.byref(default)
        must(_api().GetSecurityDescriptorDacl(descriptor, *outs))
        path = os.path.abspath(path)
        # The first call also reaches what is in a directory already; the second leaves no entry of the parent, as Wine does.
        error = _api().SetNamedSecurityInfoW(path, _FILE_OBJECT, _SET_LIST, None, None, entries, None)
        if error:
            raise _windows.WinError(error)
        must(_api().SetFileSecurityW(path, _SET_LIST, descriptor))
    finally:
        _kernel().LocalFree(descriptor)


def make_directory(path: str | os.PathLike[str]) -> None:
    """Make a directory that has such a list from the start. Raises OSError."""
    descriptor = _described(())
    attributes = _Attributes(ctypes.sizeof(_Attributes), descriptor, 0)
    try:
        must(_kernel().CreateDirectoryW(os.path.abspath(path), ctypes.byref(attributes)))
    finally:
        _kernel().LocalFree(descriptor)
