"""What the site's generator reads otherwise than GitHub: a bar inside code inside a table, escaped there, bare here."""

import re


def on_page_markdown(markdown: str, **_: object) -> str:
    """MkDocs calls this with the text of each page."""
    return re.sub(r"`[^`\n]+`", lambda code: code[0].replace(r"\|", "|"), markdown)
