"""What the site's generator reads otherwise than GitHub: a bar inside code inside a table, escaped there, bare here; and
links to files of the repository that are not part of the site, of which the words stay."""

import re
from pathlib import Path

_DOCS = Path(__file__).parent.parent / "docs"
_LINK = re.compile(r"\[([^\]\n]+)\]\((\.\./[^)#\s]+)(?:#[^)\s]*)?\)")


def on_page_markdown(markdown: str, **_: object) -> str:
    """MkDocs calls this with the text of each page."""
    text = re.sub(r"`[^`\n]+`", lambda code: code[0].replace(r"\|", "|"), markdown)
    return _LINK.sub(lambda link: link[1] if _is_outside(link[2]) else link[0], text)


def _is_outside(target: str) -> bool:
    """Whether a link leads to a file of the repository beside the documentation."""
    path = (_DOCS / target).resolve()
    return path.exists() and not path.is_relative_to(_DOCS.resolve())
