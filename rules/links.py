"""Symbolic links beside the data: what may be copied, and words for people."""

from collections.abc import Sequence
from posixpath import dirname, join, normpath


def leads_out_in_words(rule: str) -> str:
    """What is wrong with links to what no rule delivers, while their rule does not say what becomes of links.

    A dataset with such links is not deleted until it does.
    """
    return f'it has links to what no rule delivers: write `links = "skip"` into rule {rule} if they are no concern'


def not_copied_in_words(links: int) -> str:
    """Why a dataset stays here whose links are to be copied."""
    return f"{links_in_words(links)} of it {'is' if links == 1 else 'are'} not copied yet"


def uncopiable(path: str, target: str) -> str | None:
    """Why a link may not be made at a destination; None: it may.

    Args:
        path: where it would be, relative to the destination.
        target: what it says.
    """
    if target.startswith("/"):
        return f"it leads to {target}, which is another place at the destination, or none"
    if normpath(join(dirname(path), target)).split("/", 1)[0] == "..":
        return f"it leads to {target}, out of the destination"
    return None


def links_in_words(count: int) -> str:
    """ "1 link", "1,234 links"."""
    return "1 link" if count == 1 else f"{count:,} links"


def some(examples: Sequence[str], count: int) -> str:
    """Examples, and how many more there are."""
    more = count - len(examples)
    return ", ".join(examples) + (f" and {more:,} more" if more > 0 else "")


def skipped_in_words(rule: str, outside: str | None, *, asks: bool) -> str:
    """What becomes of a link. `outside`: where it leads, if no rule delivers that. `asks`: the rule is to say so itself."""
    if outside is None:
        return "skipped; what it leads to is delivered itself"
    why = f"skipped; no rule delivers what it leads to: {outside}"
    return f'{why}; write `links = "skip"` into rule {rule} if it is no concern' if asks else why
