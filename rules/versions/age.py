"""Which files were there before the agent, and stay as they are: a rule's `newer_than`."""

from datetime import datetime, time

from rules.model import Version
from rules.rule import Rule


def newest_ns(version: Version, born_ns: int | None = None) -> int:
    """The newest of a file's times, in nanoseconds. A copy may carry an old mtime; when it was made shows that it came later."""
    return max(version.mtime_ns, version.ctime_ns, born_ns or 0)


def ignored(rule: Rule, newest: int | None) -> str | None:
    """Why what the first sweep found is not delivered; None: it is.

    Args:
        rule: that claims it.
        newest: the newest time of the file, or of all files of its dataset; None: it came after the first sweep.
    """
    if rule.newer_than is None or newest is None:
        return None
    begin = datetime.combine(rule.newer_than, time.min, rule.zone)
    if newest >= int(begin.timestamp()) * 1_000_000_000:
        return None
    what = "all of its dataset is" if rule.whole else "it is"
    return (
        f"from before the agent: {what} older than {rule.newer_than} (`newer_than` of rule {rule.name!r});"
        " an earlier date there, or `dropline send`, delivers it"
    )
