"""Text that others wrote, made fit for a terminal, a log line or a page."""


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
