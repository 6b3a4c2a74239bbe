"""The calls of Windows that the files need. They raise Trouble, and nothing else."""

import ctypes
import struct
from collections.abc import Callable, Iterator
from ctypes import wintypes
from typing import Any, Final, NamedTuple, TypeVar

from agent.files.trouble import Trouble, What
from agent.files.windows import facts
from agent.files.windows.errors import meaning
from agent.files.windows.facts import Entry, Facts

T = TypeVar("T")
READ_DATA, WRITE_DATA, ADD_FILE, LIST, TRAVERSE = 1, 2, 2, 1, 0x20
READ_ATTRIBUTES, WRITE_ATTRIBUTES, DELETE, SYNCHRONIZE = 0x80, 0x100, 0x10000, 0x100000
SHARE_READ, SHARE_DELETE, SHARE_ALL = 1, 4, 7
OPEN, CREATE, OPEN_IF = 1, 2, 3
DIRECTORY_FILE, WRITE_THROUGH, SYNCHRONOUS, NON_DIRECTORY = 0x1, 0x2, 0x20, 0x40
BACKUP_INTENT, OPEN_REPARSE_POINT, NO_RECALL = 0x4000, 0x200000, 0x400000
_CASE_INSENSITIVE: Final = 0x40
_FILE_ALL, _FILE_RENAME, _FILE_RENAME_EX, _FILE_DISPOSITION, _FILE_DISPOSITION_EX = 18, 10, 65, 13, 64
_NO_SUCH_CLASS: Final = {0xC0000002, 0xC0000003, 0xC000000D, 0xC00000BB}
"""NOT_IMPLEMENTED, INVALID_INFO_CLASS, INVALID_PARAMETER, NOT_SUPPORTED: an older Windows, or another file system."""
_MORE: Final = 0x80000005
"""STATUS_BUFFER_OVERFLOW: the name, which comes last, does not fit in. It is not needed."""
_BLOCK: Final = 64 * 1024
_NO_MORE_FILES, _END_OF_FILE, _MORE_DATA, _TOO_MANY = 18, 38, 234, 1022
_NAMES_AND_SIZES: Final = 0x1 | 0x2 | 0x8
"""Changes that are reported: names, and sizes. Not times: those of a directory change with each entry."""


class _String(ctypes.Structure):
    _fields_ = (("length", wintypes.USHORT), ("maximum", wintypes.USHORT), ("buffer", ctypes.c_void_p))


class _Attributes(ctypes.Structure):
    _fields_ = (
        ("length", wintypes.ULONG),
        ("root", wintypes.HANDLE),
        ("name", ctypes.POINTER(_String)),
        ("attributes", wintypes.ULONG),
        ("descriptor", ctypes.c_void_p),
        ("quality", ctypes.c_void_p),
    )


class _Status(ctypes.Structure):
    _fields_ = (("status", ctypes.c_void_p), ("information", ctypes.c_void_p))


class _Overlapped(ctypes.Structure):
    _fields_ = (
        ("internal", ctypes.c_void_p),
        ("internal_high", ctypes.c_void_p),
        ("offset", wintypes.DWORD),
        ("offset_high", wintypes.DWORD),
        ("event", wintypes.HANDLE),
    )


_windows: Any = ctypes
"""Other systems have none of these names, and the types are checked there."""
_kernel = _windows.WinDLL("kernel32", use_last_error=True)
_nt = _windows.WinDLL("ntdll")
_HANDLE, _DWORD, _POINTER = wintypes.HANDLE, wintypes.DWORD, ctypes.c_void_p
_nt.NtCreateFile.restype = ctypes.c_uint32
_nt.NtCreateFile.argtypes = [_POINTER, _DWORD, _POINTER, _POINTER, _POINTER, *[_DWORD] * 4, _POINTER, _DWORD]
for _one in (_nt.NtSetInformationFile, _nt.NtQueryInformationFile):
    _one.restype = ctypes.c_uint32
    _one.argtypes = [_HANDLE, _POINTER, _POINTER, _DWORD, _DWORD]
_nt.RtlNtStatusToDosError.restype = ctypes.c_uint32
_nt.RtlNtStatusToDosError.argtypes = [ctypes.c_uint32]
_kernel.CloseHandle.argtypes = [_HANDLE]
_kernel.FlushFileBuffers.argtypes = [_HANDLE]
_kernel.GetFileInformationByHandleEx.argtypes = [_HANDLE, ctypes.c_int, _POINTER, _DWORD]
_kernel.SetFileInformationByHandle.argtypes = [_HANDLE, ctypes.c_int, _POINTER, _DWORD]
_kernel.GetFinalPathNameByHandleW.argtypes = [_HANDLE, _POINTER, _DWORD, _DWORD]
_kernel.GetVolumeInformationByHandleW.argtypes = [_HANDLE, _POINTER, _DWORD, *[_POINTER] * 3, _POINTER, _DWORD]
_kernel.DeviceIoControl.argtypes = [_HANDLE, _DWORD, _POINTER, _DWORD, _POINTER, _DWORD, _POINTER, _POINTER]
_kernel.ReadFile.argtypes = _kernel.WriteFile.argtypes = [_HANDLE, _POINTER, _DWORD, _POINTER, _POINTER]
_kernel.GetDiskFreeSpaceExW.argtypes = [wintypes.LPCWSTR, *[_POINTER] * 3]
_kernel.GetDriveTypeW.argtypes = [wintypes.LPCWSTR]
_kernel.GetVolumePathNameW.argtypes = [wintypes.LPCWSTR, _POINTER, _DWORD]
_kernel.ReadDirectoryChangesW.argtypes = [
    _HANDLE,
    _POINTER,
    _DWORD,
    wintypes.BOOL,
    _DWORD,
    _POINTER,
    _POINTER,
    _POINTER,
]
_kernel.CancelIoEx.argtypes = [_HANDLE, _POINTER]
_kernel.GetProcessHandleCount.argtypes = [_HANDLE, _POINTER]


def _trouble(error: int, status: int = 0) -> Trouble:
    return Trouble(meaning(error, status), _windows.FormatError(error).strip() or f"error {error}")


def _checked(done: object) -> None:
    """Raises Trouble where a call of kernel32 says that it failed."""
    if not done:
        raise _trouble(_windows.get_last_error())


def _succeeded(status: int) -> None:
    """Raises Trouble where a call of ntdll says that it failed."""
    if status >= 0xC0000000:
        raise _trouble(_nt.RtlNtStatusToDosError(status), status)


# Handles


def opened(
    name: str, directory: int | None, access: int, *, share: int = SHARE_ALL, disposition: int = OPEN,
    options: int = OPEN_REPARSE_POINT, waits: int = SYNCHRONOUS,
) -> int:  # fmt: skip
    """A handle of a name in a directory, or of an absolute path as NT has it. "" opens again what the handle `directory` is of.

    `waits`: how its calls wait; 0: they return at once, as an oplock needs it.
    """
    encoded = ctypes.create_string_buffer(name.encode("utf-16-le", "surrogatepass"))
    length = len(encoded) - 1
    if length > 0xFFFC:
        raise Trouble(What.NAME_TOO_LONG, "the path is too long")
    text = _String(length, length, ctypes.addressof(encoded))
    about = _Attributes(ctypes.sizeof(_Attributes), directory, ctypes.pointer(text), _CASE_INSENSITIVE, None, None)
    handle, status = wintypes.HANDLE(), _Status()
    _succeeded(
        _nt.NtCreateFile(
            ctypes.byref(handle), access | SYNCHRONIZE, ctypes.byref(about), ctypes.byref(status), None, 0x80, share,
            disposition, options | waits | BACKUP_INTENT, None, 0,
        )
    )  # fmt: skip
    assert handle.value is not None, "it was opened"
    return handle.value


def close(handle: int) -> None:
    """Give it back."""
    _kernel.CloseHandle(handle)


def open_handles() -> int:
    """How many this process has."""
    count = wintypes.DWORD()
    _checked(_kernel.GetProcessHandleCount(wintypes.HANDLE(-1), ctypes.byref(count)))
    return count.value


# Looking


def look(handle: int) -> Facts:
    """What it is of."""
    block, status = ctypes.create_string_buffer(1024), _Status()
    found = _nt.NtQueryInformationFile(handle, ctypes.byref(status), block, len(block), _FILE_ALL)
    if found != _MORE:
        _succeeded(found)
    seen = facts.facts(block.raw, 0)
    if not seen.attributes & facts.REPARSE:
        return seen
    tags = ctypes.create_string_buffer(8)
    _checked(_kernel.GetFileInformationByHandleEx(handle, 9, tags, len(tags)))  # FileAttributeTagInfo
    return seen._replace(tag=struct.unpack("<II", tags.raw)[1])


def reparse_data(handle: int) -> bytes:
    """What a reparse point says."""
    block, length = ctypes.create_string_buffer(16 * 1024), wintypes.DWORD()
    _checked(_kernel.DeviceIoControl(handle, 0x900A8, None, 0, block, len(block), ctypes.byref(length), None))
    return block.raw[: length.value]


def final_path(handle: int) -> str | None:
    """Where it is now, from the drive or the share on, with backslashes; None where that is too long for Windows to say."""
    for size in (1024, 2**15):
        text = ctypes.create_string_buffer(size * 2)
        length = _kernel.GetFinalPathNameByHandleW(handle, text, size, 0)
        if 0 < length < size:
            return text.raw[: length * 2].decode("utf-16-le", "surrogatepass").removeprefix("\\\\?\\")
        if not length and (error := _windows.get_last_error()) != _MORE_DATA:
            raise _trouble(error)
    return None


def listed(directory: int) -> Iterator[list[Entry]]:
    """What is in a directory, in blocks."""
    block = ctypes.create_string_buffer(_BLOCK)
    information = 11  # FileIdBothDirectoryRestartInfo
    while _kernel.GetFileInformationByHandleEx(directory, information, block, len(block)):
        yield list(facts.entries(block.raw))
        information = 10  # FileIdBothDirectoryInfo
    error = _windows.get_last_error()
    if error != _NO_MORE_FILES:
        raise _trouble(error)


def changes(directory: int) -> bytes:
    """What happened below a directory since the last call, as FILE_NOTIFY_INFORMATION; b"" where it was too much. It waits."""
    block, length = ctypes.create_string_buffer(_BLOCK), wintypes.DWORD()
    done = _kernel.ReadDirectoryChangesW(
        directory, block, len(block), True, _NAMES_AND_SIZES, ctypes.byref(length), None, None
    )
    if not done and (error := _windows.get_last_error()) != _TOO_MANY:
        raise _trouble(error)
    return block.raw[: length.value] if done else b""


def cancel(handle: int) -> None:
    """End calls that wait with this handle."""
    _kernel.CancelIoEx(handle, None)


class VolumeFacts(NamedTuple):
    """A file system."""

    kind: str
    """Such as NTFS."""
    serial: int
    remote: bool


def volume(handle: int) -> VolumeFacts:
    """The file system that it is on. Only a remote file has a protocol; a name of the file system alone does not tell."""
    kind, serial = ctypes.create_unicode_buffer(64), wintypes.DWORD()
    _checked(_kernel.GetVolumeInformationByHandleW(handle, None, 0, ctypes.byref(serial), None, None, kind, len(kind)))
    protocol = ctypes.create_string_buffer(256)
    remote = bool(_kernel.GetFileInformationByHandleEx(handle, 13, protocol, len(protocol)))  # FileRemoteProtocolInfo
    return VolumeFacts(kind.value, serial.value, remote)


def drive(path: str) -> tuple[str, bool]:
    """Where the volume of a path is mounted, and whether it is on another computer. It asks no file system."""
    if path.startswith("\\\\"):
        return "\\".join(path.split("\\")[:4]) + "\\", True
    found = ctypes.create_unicode_buffer(1024)
    _checked(_kernel.GetVolumePathNameW(path, found, len(found)))
    return found.value, _kernel.GetDriveTypeW(found.value) == 4  # DRIVE_REMOTE


def has_drive(path: str) -> bool:
    """Whether the drive that a path begins with is there; a share has none."""
    return path.startswith("\\\\") or _kernel.GetDriveTypeW(path[:2] + "\\") != 1  # DRIVE_NO_ROOT_DIR


def share_of(drive: str) -> str | None:
    """The share that a letter such as "Z:" stands for in this login; None where it is none, or cannot be told."""
    found, length = ctypes.create_unicode_buffer(1024), wintypes.DWORD(1024)
    refused = _windows.WinDLL("mpr").WNetGetConnectionW(drive, found, ctypes.byref(length))
    return None if refused else found.value


def space(path: str) -> tuple[int, int]:
    """Bytes that this user may still write, and bytes of all that there is."""
    free, total = ctypes.c_uint64(), ctypes.c_uint64()
    _checked(_kernel.GetDiskFreeSpaceExW(path, ctypes.byref(free), ctypes.byref(total), None))
    return free.value, total.value


# Content


def _at(offset: int) -> _Overlapped:
    return _Overlapped(None, None, offset & 0xFFFFFFFF, offset >> 32, None)


def read_into(handle: int, block: memoryview, offset: int) -> int:
    """Fill the block from there on. Returns how many bytes came; 0 at the end."""
    done, length = wintypes.DWORD(), min(len(block), 2**30)
    target = (ctypes.c_char * length).from_buffer(block)
    if not _kernel.ReadFile(handle, target, length, ctypes.byref(done), ctypes.byref(_at(offset))):
        error = _windows.get_last_error()
        if error != _END_OF_FILE:
            raise _trouble(error)
        return 0
    return done.value


def write(handle: int, data: bytes | memoryview, offset: int) -> None:
    """Write all of it there."""
    rest = memoryview(data)
    while rest:
        part = bytes(rest[: 2**26]) if rest.readonly else rest[: 2**26]
        source = part if isinstance(part, bytes) else (ctypes.c_char * len(part)).from_buffer(part)
        done = wintypes.DWORD()
        _checked(_kernel.WriteFile(handle, source, len(part), ctypes.byref(done), ctypes.byref(_at(offset))))
        rest, offset = rest[done.value :], offset + done.value


def set_size(handle: int, size: int) -> None:
    """Cut it off, or lengthen it."""
    block = struct.pack("<q", size)
    _checked(_kernel.SetFileInformationByHandle(handle, 6, block, len(block)))  # FileEndOfFileInfo


def set_basic(handle: int, accessed: int = 0, written: int = 0, attributes: int = 0) -> None:
    """Set times and attributes; 0 leaves what is there."""
    block = struct.pack("<qqqqI4x", 0, accessed, written, 0, attributes)
    _checked(_kernel.SetFileInformationByHandle(handle, 0, block, len(block)))  # FileBasicInfo


def flush(handle: int) -> None:
    """Bring it to stable storage: content, or the names in a directory. It must be open for writing."""
    _checked(_kernel.FlushFileBuffers(handle))


def bypass_client_cache(handle: int) -> None:
    """Let reads of a remote file come from its server (IOCTL_LMR_DISABLE_LOCAL_BUFFERING). A hint, which local files ignore."""
    _kernel.DeviceIoControl(handle, 0x140390, None, 0, None, 0, ctypes.byref(wintypes.DWORD()), None)


# Names


def rename(handle: int, directory: int, name: str, *, replace: bool) -> None:
    """Give it this name in a directory. Without `replace` never onto something that exists: EXISTS, decided by the file system."""
    encoded, status = name.encode("utf-16-le", "surrogatepass"), _Status()
    found = 0xC0000002
    for information, flags in ((_FILE_RENAME_EX, 0x1 | 0x2), (_FILE_RENAME, 1)) if replace else ((_FILE_RENAME, 0),):
        # REPLACE_IF_EXISTS and POSIX_SEMANTICS: also onto a file that is open.
        block = struct.pack("<I4xQI", flags, directory, len(encoded)) + encoded + b"\0\0\0\0"
        found = _nt.NtSetInformationFile(handle, ctypes.byref(status), block, len(block), information)
        if found not in _NO_SUCH_CLASS:
            break
    _succeeded(found)


def delete(handle: int) -> None:
    """Remove its name: at once where Windows knows how, else when the last program closes it."""
    status = _Status()
    block = struct.pack("<I", 0x1 | 0x2 | 0x10)  # DELETE, POSIX_SEMANTICS, IGNORE_READONLY_ATTRIBUTE
    found = _nt.NtSetInformationFile(handle, ctypes.byref(status), block, len(block), _FILE_DISPOSITION_EX)
    if found in _NO_SUCH_CLASS:
        found = _nt.NtSetInformationFile(handle, ctypes.byref(status), b"\x01", 1, _FILE_DISPOSITION)
    _succeeded(found)


def closing(handle: int, use: Callable[[int], T]) -> T:
    """Use a handle, and give it back."""
    try:
        return use(handle)
    finally:
        close(handle)
