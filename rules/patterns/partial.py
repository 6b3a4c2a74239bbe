"""Partial and temporary files of other programs, known by their names: never data, unless a rule names them."""

import re
from collections.abc import Iterator

from rules.datasets.condition import Condition
from rules.datasets.listed import Listed, Manifest
from rules.patterns.glob import FIELD, takes
from rules.rule import Rule

_NAMES = re.compile(
    r"\.nfs[0-9a-f]{8,}|\.fuse_hidden.+|\._.+|~\$.+|\.~lock\..+#|.+\.(part|partial|filepart|crdownload|tmp|swp)"
    r"|Thumbs\.db|desktop\.ini|\.DS_Store",
    re.IGNORECASE | re.DOTALL,
)
LEFT_OVER = 3600.0
"""Seconds without a change after which nobody goes on with one."""
WORDS = (
    "*.part, *.partial, *.filepart, *.crdownload, *.tmp, *.swp, ~$*, ._*, Thumbs.db, desktop.ini, .DS_Store and similar"
)


def partial(rule: Rule, relpath: str) -> bool:
    """Whether a file is another program's partial or temporary file, which the rule leaves out.

    Not what its `include`, its marker or its conditions name. A list in the data may name any file: with one, none is left out.
    """
    name = relpath.rpartition("/")[2]
    if not rule.skip_partial or _NAMES.fullmatch(name) is None:
        return False
    conditions = list(_all(rule.complete.require))
    if any(isinstance(one, Listed | Manifest) for one in conditions):
        return False
    markers = [rule.complete.marker] if rule.complete.marker is not None else []
    patterns = [str(pattern) for one in conditions for _, pattern in one.patterns("")]
    for pattern in (*rule.include, *markers, *patterns):
        last = FIELD.sub("*", pattern.rstrip("/").rpartition("/")[2])
        if _NAMES.fullmatch(last) and takes((last,), name):
            return False
    return True


def _all(conditions: tuple[Condition, ...]) -> Iterator[Condition]:
    """Conditions, and those in them."""
    for condition in conditions:
        yield condition
        for _, value in condition:
            if isinstance(value, tuple):
                yield from _all(tuple(one for one in value if isinstance(one, Condition)))
