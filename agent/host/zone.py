"""The time zone that people write and read times in: by default that of this computer."""

from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo


class LocalZone(tzinfo):
    """The zone of this computer, by its C library: also where no name tells it."""

    def fromutc(self, dt: datetime) -> datetime:
        """The time on the computer's clock."""
        stamp = dt.replace(tzinfo=UTC).timestamp()
        return datetime.fromtimestamp(stamp).replace(tzinfo=self)  # noqa: DTZ006  (this is what makes it local)

    def utcoffset(self, dt: datetime | None) -> timedelta | None:
        """By the rules that hold at that time; of a time that comes twice, `fold` says which is meant."""
        return None if dt is None else self._aware(dt).utcoffset()

    def dst(self, dt: datetime | None) -> timedelta | None:
        """Not known."""
        return None

    def tzname(self, dt: datetime | None) -> str | None:
        """As the computer calls it."""
        return None if dt is None else self._aware(dt).tzname()

    def _aware(self, dt: datetime) -> datetime:
        try:
            return dt.replace(tzinfo=None).astimezone()
        except (OverflowError, OSError, ValueError):  # a year that the C library has no rules for
            return dt.replace(tzinfo=UTC)


LOCAL_ZONE = LocalZone()


_shown: list[tzinfo] = [LOCAL_ZONE]
"""One process runs, or reports by, one configuration."""


def show_in(zone: tzinfo) -> None:
    """Times that this process shows people are in this zone from now on."""
    _shown[:] = [zone]


def shown(at: float) -> datetime:
    """A time by the clock that people read."""
    return datetime.fromtimestamp(at, _shown[0])


def stamp(at: float) -> str:
    """A time as people read it, with its offset, which tells an hour that comes twice: "2026-01-31 13:00:00+01:00"."""
    return shown(at).isoformat(sep=" ", timespec="seconds")


def zone(name: str) -> tzinfo:
    """The zone of this name, as in "Europe/Berlin"; "local": that of this computer. Raises ValueError."""
    if name == "local":
        return LOCAL_ZONE
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, OSError, ValueError) as error:
        raise ValueError(
            f'there is no time zone {name!r} on this computer; write "local", "UTC" or a name such as "Europe/Berlin"'
        ) from error
