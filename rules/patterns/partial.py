"""Partial and temporary files of other programs, known by their names: never data, unless a rule names them."""

import re

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

_LISTS = ("listed", "manifest")
"""Keys of the conditions that read a list in the data."""


def partial(rule: Rule, relpath: str) -> bool:
    """Whether a file is another program's partial or temporary file, which the rule leaves out.

    Not what its `include`, its marker or its conditions name. A list in the data may name any file: with one, none is left out.
    """
    name = relpath.rpartition("/")[2]
    if not rule.skip_partial or _NAMES.fullmatch(name) is None:
        return False
    wanted = [one for condition in rule.complete.require for one in condition.patterns("")]
    if any(key.rpartition(".")[2] in _LISTS for key, _ in wanted):
        return False
    markers = [rule.complete.marker] if rule.complete.marker is not None else []
    for pattern in (*rule.include, *markers, *(str(pattern) for _, pattern in wanted)):
        last = FIELD.sub("*", pattern.rstrip("/").rpartition("/")[2])
        if _NAMES.fullmatch(last) and takes((last,), name):
            return False
    return True
