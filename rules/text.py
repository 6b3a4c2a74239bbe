"""Text that others wrote, made fit for a terminal, a log line or a page."""

import re


def printable(text: str) -> str:
    """The text on one line that every terminal and log can carry: odd characters and bytes are escaped."""
    if text.isprintable():
        return text
    plain = text.encode("utf-8", "backslashreplace").decode()
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in plain)


def quoted(text: str) -> str:
    """The same between quotes that nothing in the text can end."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{printable(escaped)}"'


def alike(text: str, path: str) -> str:
    """The text without what tells one file from another: its path and name, other paths, quoted names, numbers."""
    for one in (path, path.rpartition("/")[2]):
        text = text.replace(one, "…") if one else text
    return re.sub(r"'[^']*'|\"[^\"]*\"|(?<!\S)\S*[/\d]\S*", "…", text)
