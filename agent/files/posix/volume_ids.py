"""What identifies a file system across its mounts: docs/decisions/0033-volumes.md has the ladder, and what was measured."""

import fcntl
import hashlib
import os
import select
import struct
import threading
from typing import NamedTuple

from agent.files.posix import mounts
from agent.files.volumes import Volume
from rules.model import STABLE_VOLUME, VolumeId

_FSID_OF_THE_DISK = {"ext2", "ext3", "ext4", "btrfs"}
"""Where f_fsid is made of what is written on the disk. On xfs and FAT it is the device number, on FUSE and NFS 0."""
_UUID_OF_THE_MOUNT = {"tmpfs", "ramfs", "overlay"}
"""What FS_IOC_GETFSUUID returns for these is made up at each mount, or depends on how it is asked: an overlay's files have other
device numbers than their directory, and a descriptor that only names one is given no answer."""
_GETFSUUID = 0x80111500
"""FS_IOC_GETFSUUID, _IOR(0x15, 0, struct fsuuid2) in linux/fs.h: a length, and up to 16 bytes."""
_BY_UUID = "/dev/disk/by-uuid"
_BOOT = "/proc/sys/kernel/random/boot_id"
_ANY = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC if hasattr(os, "O_PATH") else 0


class _Mounted(NamedTuple):
    """A file system, as the mount table has it."""

    id: VolumeId
    remote: bool
    """Files may have writers of whom this kernel knows nothing. So has what cannot be told."""


class TreeVolumes:
    """The file systems that a tree crosses, as they are mounted at the moment of each question."""

    def _of(self, device: int, fd: int) -> _Mounted:
        known = _TABLE.known()
        found = known.get(device)
        if found is None:
            volume = mounts.of_open(fd)
            remote = volume is None or not volume.knows_writers
            found = known[device] = _Mounted(_identity(device, fd, volume), remote)
        return found

    def volume(self, device: int, fd: int) -> VolumeId:
        """The identity of an open file's file system. `device`: its st_dev."""
        return self._of(device, fd).id

    def remote(self, device: int, fd: int) -> bool:
        """Whether an open file may have writers of whom this kernel knows nothing."""
        return self._of(device, fd).remote

    def named(self, device: int, name: str, directory: int | None = None) -> VolumeId:
        """The same of what has a name, which is not opened for reading: it may be a FIFO, or belong to somebody else."""
        found = _TABLE.known().get(device)
        if found is not None:
            return found.id
        if _ANY:
            try:
                fd = os.open(name, _ANY, dir_fd=directory)
            except OSError:
                return VolumeId(device)  # gone: the next look asks again
            try:
                if os.fstat(fd).st_dev == device:
                    return self.volume(device, fd)
            finally:
                os.close(fd)
        return VolumeId(device)


class _MountTable:
    """Says when something was mounted or unmounted."""

    def __init__(self) -> None:
        self._known: dict[int, _Mounted] = {}
        self._lock = threading.Lock()
        self._changes = select.poll()
        try:
            # The kernel raises POLLPRI and POLLERR on it when something is mounted or unmounted (proc_pid_mountinfo(5)).
            self._changes.register(os.open("/proc/self/mountinfo", os.O_RDONLY | os.O_CLOEXEC), select.POLLPRI)
            self._tells = True
        except OSError:
            self._tells = False  # not Linux, or no /proc: a device number may be used again, and nobody says so

    def known(self) -> dict[int, _Mounted]:
        """File systems by device number, another dictionary after each change of the table, or where nobody tells of one."""
        with self._lock:
            if not self._tells or self._changes.poll(0):
                self._known = {}
            return self._known


def _identity(device: int, fd: int, volume: Volume | None) -> VolumeId:
    """The first rung that answers. `volume`: what the mount table has of it; None: it cannot be asked."""
    fsid = _fsid(fd)
    if volume is None:  # `_ANY`: else what only has a name could not be asked in the same way
        return VolumeId(_number(f"fsid {fsid}") if fsid and _ANY else device)
    if volume.kind in _FSID_OF_THE_DISK and fsid:
        return _stable(f"{volume.kind} {fsid}")
    uuid = _uuid(volume, fd)
    if uuid is not None:
        return _stable(f"{volume.kind} {uuid}")
    return VolumeId(_number(f"{_boot()} {volume.device} {volume.kind} {volume.source} {fsid}"))


def _stable(text: str) -> VolumeId:
    return VolumeId(_number(text) | STABLE_VOLUME)


def _number(text: str) -> int:
    """Less than STABLE_VOLUME."""
    digest = hashlib.blake2b(os.fsencode(text), digest_size=8).digest()
    return int.from_bytes(digest, "big") % STABLE_VOLUME


def _fsid(fd: int) -> int:
    try:
        return os.fstatvfs(fd).f_fsid
    except OSError:
        return 0


def _uuid(volume: Volume, fd: int) -> str | None:
    """What the file system's maker wrote on the disk. Two ways to one answer: it must not change with the kernel."""
    if volume.kind in _UUID_OF_THE_MOUNT:
        return None
    block = bytearray(17)
    try:
        fcntl.ioctl(fd, _GETFSUUID, block)
    except OSError:  # a kernel before 6.9, another file system, or a descriptor that only names something
        return _uuid_by_udev(volume)
    (length,) = struct.unpack_from("B", block)
    return block[1 : 1 + length].hex()


def _uuid_by_udev(volume: Volume) -> str | None:
    """What udev read from the disk; None where the file system is not on one disk."""
    try:
        names = os.listdir(_BY_UUID)
    except OSError:
        return None
    for name in names:
        try:
            number = os.stat(f"{_BY_UUID}/{name}").st_rdev
        except OSError:
            continue  # a disk that was pulled out
        if f"{os.major(number)}:{os.minor(number)}" == volume.device:
            return name.replace("-", "").lower()
    return None


def _boot() -> str:
    """Each start of the computer gives out other device numbers."""
    try:
        with open(_BOOT, encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""


_TABLE = _MountTable()
