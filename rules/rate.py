"""How much may go to a destination in a second, by the hour of the day."""

import re
from collections.abc import Sequence
from datetime import datetime, tzinfo
from typing import NamedTuple, Self

from rules.units import bytes_in_words

_HOURS = re.compile(r"(\d{1,2}):(\d{2})\s*-\s*(\d{1,2}):(\d{2})")
_DAY = 24 * 60


class Hours(NamedTuple):
    """From `begin` (which is in) to `end` (which is not), both in minutes after midnight by the clock on the wall."""

    begin: int
    end: int

    @classmethod
    def read(cls, text: str) -> Self:
        """Hours as people write them: "08:00-18:00", across midnight "22:00-06:00". Raises ValueError."""
        match = _HOURS.fullmatch(text.strip())
        if match is None:
            raise ValueError(f'{text!r} are not hours; write for example "08:00-18:00"')
        begin_hour, begin_minute, end_hour, end_minute = map(int, match.groups())
        begin, end = 60 * begin_hour + begin_minute, 60 * end_hour + end_minute
        if begin >= _DAY or end > _DAY or begin_minute > 59 or end_minute > 59:
            raise ValueError(f'{text!r}: times of day are "00:00" to "23:59", and "24:00" at the end')
        if begin == end % _DAY:
            raise ValueError(f"{text!r} begins where it ends; leave `hours` out for the whole day")
        return cls(begin, end)

    def hold(self, minute: int) -> bool:
        """Whether this minute of the day is among them."""
        if self.begin < self.end:
            return self.begin <= minute < self.end
        return minute >= self.begin or minute < self.end

    def __str__(self) -> str:
        return f"{self.begin // 60:02}:{self.begin % 60:02}-{self.end // 60:02}:{self.end % 60:02}"


class Limit(NamedTuple):
    """So many bytes a second at these hours; None: at all others."""

    rate: int
    hours: Hours | None = None
    zone: tzinfo | None = None
    """Whose clock they mean; None: that of this computer."""


def in_words(limits: Sequence[Limit]) -> str:
    """Limits for people: "at most 20 MB a second at 08:00-18:00, 100 MB a second else"; empty where there are none."""
    if not limits:
        return ""
    said = [
        f"{bytes_in_words(one.rate)} a second" + (f" at {one.hours}" if one.hours else " else" * (len(limits) > 1))
        for one in limits
    ]
    return "at most " + ", ".join(said)


def allowed(limits: Sequence[Limit], local: datetime) -> int | None:
    """Bytes a second at this time; None: as many as will go. The first limit whose hours hold counts.

    `local` is what the clock on the wall shows. Where it is put forward, hours that are skipped do not come; where it
    is put back, they come twice.
    """
    minute = 60 * local.hour + local.minute
    return next((limit.rate for limit in limits if limit.hours is None or limit.hours.hold(minute)), None)
