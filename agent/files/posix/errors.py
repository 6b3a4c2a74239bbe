"""What errno says, in the words of `agent.files.trouble`. The only place that reads it."""

import errno
import os
from typing import Final

from agent.files.trouble import Trouble, What

_WHAT: Final = {
    "ENOENT": What.ABSENT,
    "ENOTDIR": What.NOT_A_DIRECTORY,
    "ELOOP": What.LINK,
    "EISDIR": What.DIRECTORY,
    "EEXIST": What.EXISTS,
    "ENOTEMPTY": What.NOT_EMPTY,
    "ENAMETOOLONG": What.NAME_TOO_LONG,
    "EILSEQ": What.NAME_CHARACTERS,
    "EINVAL": What.NAME_REFUSED,
    "EACCES": What.DENIED,
    "EPERM": What.NOT_PERMITTED,
    "EFBIG": What.TOO_LARGE,
    "EOVERFLOW": What.TOO_LARGE,
    "EMLINK": What.TOO_MANY_LINKS,
    "EAGAIN": What.BUSY,
    "EBUSY": What.BUSY,
    "ETXTBSY": What.BUSY,
    "EXDEV": What.OTHER_VOLUME,
    "EIO": What.DAMAGED,
    "EBADMSG": What.DAMAGED,
    "EUCLEAN": What.DAMAGED,
    "ENOSPC": What.FULL,
    "EDQUOT": What.FULL,
    "EROFS": What.READ_ONLY,
    "ESTALE": What.STALE,
    "ENOTCONN": What.STALE,
    "ECONNRESET": What.STALE,
    "ENODEV": What.STALE,
    "ENXIO": What.STALE,
    "EREMOTEIO": What.STALE,
    "ETIMEDOUT": What.NO_ANSWER,
    "EHOSTDOWN": What.NO_ANSWER,
    "EHOSTUNREACH": What.NO_ANSWER,
    "ENETUNREACH": What.NO_ANSWER,
    "ECONNREFUSED": What.NO_ANSWER,
    "EINTR": What.NO_ANSWER,
    "EMFILE": What.EXHAUSTED,
    "ENFILE": What.EXHAUSTED,
    "ENOMEM": What.EXHAUSTED,
    "ENOSYS": What.UNSUPPORTED,
    "ENOTSUP": What.UNSUPPORTED,
    "ENOLCK": What.UNSUPPORTED,
}
_BY_NUMBER: Final = {getattr(errno, name): what for name, what in _WHAT.items() if hasattr(errno, name)}

_NOTHING_THERE: Final = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}

REFUSALS: Final = (OSError, ValueError)
"""What Python raises where the operating system refuses, or could not even be asked: for names with a NUL, ValueError."""


def says_nothing_there(error: OSError | ValueError) -> bool:
    """Whether it says that nothing has a name below a directory: a part is missing, or no directory, or a link."""
    return isinstance(error, OSError) and error.errno in _NOTHING_THERE


def trouble(error: OSError | ValueError) -> Trouble:
    """The same in our own words."""
    if isinstance(error, ValueError):
        return Trouble(What.NAME_REFUSED, "no file system has such a name")
    return Trouble(_BY_NUMBER.get(error.errno or 0, What.OTHER), error.strerror or str(error))


def failed(number: int) -> OSError:
    """What Python would raise for an error number of the C library."""
    return OSError(number, os.strerror(number))
