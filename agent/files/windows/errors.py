"""What Windows' error numbers mean, in the words of `agent.files.trouble`. The one place that translates them.

Python's own table does not do: it takes a share that cannot be reached for a file that is absent (53, 67), and a lost
connection for a bad name (64, 59, 121).
"""

from typing import Final

from agent.files.trouble import Trouble, What

_STATUS: Final = {
    0xC0000056: What.BUSY,  # STATUS_DELETE_PENDING, which ERROR_ACCESS_DENIED stands for as well
    0xC0000121: What.NOT_PERMITTED,  # STATUS_CANNOT_DELETE: read-only
    0xC00000BA: What.DIRECTORY,  # STATUS_FILE_IS_A_DIRECTORY
    0xC0000103: What.NOT_A_DIRECTORY,
    0xC000050B: What.LINK,  # STATUS_REPARSE_POINT_ENCOUNTERED
    0xC0000033: What.NAME_REFUSED,  # STATUS_OBJECT_NAME_INVALID
    0xC000003B: What.NAME_REFUSED,  # STATUS_OBJECT_PATH_SYNTAX_BAD
    0xC0000106: What.NAME_TOO_LONG,
}
"""NTSTATUS values that say more than the error that stands for them."""
_ERROR: Final = {
    What.ABSENT: (2, 3, 161),
    What.NOT_A_DIRECTORY: (267,),
    What.LINK: (1920, 4390),
    What.EXISTS: (80, 183),
    What.NOT_EMPTY: (145,),
    What.NAME_TOO_LONG: (206, 111),
    What.NAME_REFUSED: (123,),
    What.DENIED: (5, 65),
    What.NOT_PERMITTED: (1314, 395),
    What.TOO_LARGE: (223,),
    What.TOO_MANY_LINKS: (1142,),
    What.BUSY: (32, 33, 170, 303, 1224),
    What.OTHER_VOLUME: (17,),
    What.DAMAGED: (23, 225, 1117, 1392, 1393),
    What.FULL: (39, 112, 1295),
    What.READ_ONLY: (19,),
    What.STALE: (6, 21, 55, 59, 64, 1006, 1167, 1222),
    What.NO_ANSWER: (51, 53, 54, 58, 67, 121, 995, 1203, 1219, 1231, 1232, 1236, 1326, 1327, 1331),
    What.EXHAUSTED: (4, 8, 14, 1450, 1455),
    What.UNSUPPORTED: (1, 50, 87, 120),
}
_BY_ERROR: Final = {number: what for what, numbers in _ERROR.items() for number in numbers}
_NOTHING_THERE: Final = {What.ABSENT, What.NOT_A_DIRECTORY, What.LINK}


def meaning(error: int, status: int = 0) -> What:
    """What an error number means. `status`: the NTSTATUS that it stands for, where it is known."""
    return _STATUS.get(status) or _BY_ERROR.get(error, What.OTHER)


def says_nothing_there(trouble: Trouble) -> bool:
    """Whether it says that nothing has a name below a directory: a part is missing, or no directory, or a link."""
    return trouble.what in _NOTHING_THERE
