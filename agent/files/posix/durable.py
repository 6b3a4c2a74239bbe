"""File operations that must be durable, exclusive or cold, where Python's `os` stops short of what the kernel has."""

import ctypes
import errno
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Final

_RENAME_NOREPLACE: Final = 1
_RENAME_EXCHANGE: Final = 2
_WRITE: Final = 2
_WAIT_WRITE_WAIT: Final = 1 | _WRITE | 4
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
Rename = Callable[[str, str, int, int], None]
"""(name, new name, directory, new directory)"""
_NO_SUCH_CALL = {errno.ENOSYS, errno.EINVAL, errno.ENOTSUP}


def make_durable(fds: Sequence[int]) -> None:
    """Bring the files' contents to stable storage: one syncfs(2) for many, fsync(2) for few. Raises OSError."""
    if len(fds) > 2:
        sync_file_systems(fds, os.fsync)
        return
    for fd in fds:
        os.fsync(fd)


def sync_file_systems(fds: Iterable[int], each: Callable[[int], None]) -> None:
    """Bring all that was written to the file systems of these descriptors to stable storage, each once.

    Where there is no syncfs(2), `each` syncs the descriptors one by one. Raises OSError.
    """
    done: set[int] = set()
    for fd in fds:
        device = os.fstat(fd).st_dev
        if device not in done and _syncfs(fd):
            done.add(device)
        elif device not in done:
            each(fd)


def _syncfs(fd: int) -> bool:
    """Whether there is such a call and it was done. Raises OSError where the storage reports one."""
    if _libc is None or not hasattr(_libc, "syncfs"):
        return False
    if _libc.syncfs(fd) == 0:
        return True
    code = ctypes.get_errno()
    if code in _NO_SUCH_CALL:
        return False
    raise OSError(code, os.strerror(code))


def sync_directory(fd: int) -> None:
    """Make the names in a directory durable. Raises OSError, except where directories cannot be synced."""
    try:
        os.fsync(fd)
    except OSError as error:
        # SMB and some FUSE file systems refuse fsync on directories; there is no other way to ask there.
        if error.errno not in _NO_SUCH_CALL | {errno.EBADF, errno.EACCES}:
            raise


def begin_write_back(fd: int, offset: int, length: int) -> None:
    """Let the storage begin to take these bytes, and do not wait: a hint, where there is sync_file_range(2)."""
    if _libc is not None and hasattr(_libc, "sync_file_range"):
        _libc.sync_file_range(fd, ctypes.c_int64(offset), ctypes.c_int64(length), _WRITE)


def end_write_back(fd: int, offset: int, length: int) -> None:
    """Wait until the storage has taken these bytes, and forget their cached pages.

    So a large file fills neither the memory that other programs' files are cached in, nor the queue that they write
    through. It says nothing of durability. Raises OSError where the storage reports an error: it would not do so again.
    """
    if _libc is None or not hasattr(_libc, "sync_file_range"):
        return
    if _libc.sync_file_range(fd, ctypes.c_int64(offset), ctypes.c_int64(length), _WAIT_WRITE_WAIT) != 0:
        code = ctypes.get_errno()
        if code not in _NO_SUCH_CALL:
            raise OSError(code, os.strerror(code))
    _advise(fd, "POSIX_FADV_DONTNEED", offset, length)


def drop_cache(fds: Sequence[int]) -> None:
    """Forget the cached pages of synced files, so that the next reads come from the storage, and begin to fetch them.

    The storage then works on all of them at once, while they are read one by one.
    """
    for advice in ("POSIX_FADV_DONTNEED", "POSIX_FADV_WILLNEED"):
        for fd in fds:
            _advise(fd, advice)


def forget(fd: int) -> None:
    """Forget the cached pages of a synced file: nobody here reads it again soon."""
    _advise(fd, "POSIX_FADV_DONTNEED")


def _advise(fd: int, advice: str, offset: int = 0, length: int = 0) -> None:
    """A hint, where there is posix_fadvise(2): what comes of it decides nothing."""
    if hasattr(os, "posix_fadvise"):
        try:
            os.posix_fadvise(fd, offset, length, getattr(os, advice))
        except OSError:
            pass  # the pages stay cached


def replace(source: str, target: str, source_dir: int, target_dir: int) -> None:
    """Rename, onto a file that has the name or onto none. Raises OSError."""
    os.rename(source, target, src_dir_fd=source_dir, dst_dir_fd=target_dir)


def exchange(source: str, target: str, source_dir: int, target_dir: int) -> None:
    """Let two names change their places at once. Raises OSError: ENOTSUP where there is no such call."""
    if _libc is None or not hasattr(_libc, "renameat2"):
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))
    if _libc.renameat2(source_dir, os.fsencode(source), target_dir, os.fsencode(target), _RENAME_EXCHANGE) != 0:
        code = ctypes.get_errno()
        raise OSError(errno.ENOTSUP if code in _NO_SUCH_CALL else code, os.strerror(code), target)


def rename_new(source: str, target: str, source_dir: int, target_dir: int) -> None:
    """Rename, but never onto something that exists. Raises FileExistsError and other OSError."""
    if _libc is not None and hasattr(_libc, "renameat2"):
        names = os.fsencode(source), os.fsencode(target)
        if _libc.renameat2(source_dir, names[0], target_dir, names[1], _RENAME_NOREPLACE) == 0:
            return
        code = ctypes.get_errno()
        if code not in _NO_SUCH_CALL:
            raise OSError(code, os.strerror(code), target)
    # NFS, Lustre and some others know no exclusive rename, but a link is exclusive. A crash in between leaves both names.
    try:
        os.link(source, target, src_dir_fd=source_dir, dst_dir_fd=target_dir, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_SUCH_CALL | {errno.EPERM, errno.EMLINK}:
            raise
    else:
        os.unlink(source, dir_fd=source_dir)
        return
    # No links either (SMB, FAT), or a directory: look first. Only the agent writes names here, so the gap between the
    # look and the rename is as small as it can be made, not closed.
    try:
        os.lstat(target, dir_fd=target_dir)
    except FileNotFoundError:
        os.rename(source, target, src_dir_fd=source_dir, dst_dir_fd=target_dir)
        return
    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target)
