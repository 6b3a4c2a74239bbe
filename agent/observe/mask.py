"""Secrets taken out of what is shown to others."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

MASK = "[masked]"
_SECRET_KEY = re.compile(r"(secret|passw|token|credential|authorization|(^|_)key$)", re.I)
_PLACE_OF_SECRET = re.compile(r"_file$", re.I)
_URL = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*://)(?:[^/\s@'\"]*@)?(?P<rest>[^\s?'\"]*)(?:\?[^\s'\"]*)?", re.I)
_HEADER = re.compile(r"\b(Bearer|Basic)\s+[^\s'\"]+", re.I)
_PAIR = re.compile(
    r"\b(\w*(?:secret|passw(?:or)?d|token|api[_-]?key|authorization)['\"]?\s*[=:]\s*)(?:'[^']*'|\"[^\"]*\"|\S+)", re.I
)
_WRITTEN = re.compile(r"\w*(?:secret|passw(?:or)?d|token|webhook|url)[\"']?\s*=\s*(?:\"([^\"\n]*)\"|'([^'\n]*)')", re.I)
_SHORTEST = 4
"""Characters of what is looked for: less would be found everywhere."""
_SHORTEST_WORD = 2
_TELLING = 8
"""Characters from which on a word is no part of others."""
_OPTION = re.compile(r"-{1,2}\w[\w-]*")
_ARGUMENTS = re.compile(r"\bcommand[\"']?\s*=\s*\[([^\]]*)\]")
_TEXT = re.compile(r"\"((?:[^\"\\\n]|\\.)*)\"|'([^'\n]*)'")


class Masker:
    """Takes known secrets, and what looks like one, out of text and values."""

    def __init__(self, secrets: Iterable[str], words: Iterable[str] = ()) -> None:
        """
        Args:
            secrets: values that must not appear.
            words: may be secrets, and may be words like others: the short ones are left where they are a part of another.
        """
        known = {form for one in secrets for form in (one, one.strip()) if len(form) >= _SHORTEST}
        maybe = set(words)
        short = {one for one in maybe if _SHORTEST_WORD <= len(one) < _TELLING} - known
        known |= {one for one in maybe if len(one) >= _TELLING}
        # The longest first: one may be a part of another.
        self._known = sorted(known, key=lambda one: (-len(one), one))
        found = "|".join(map(re.escape, sorted(short, key=lambda one: (-len(one), one))))
        self._words = re.compile(rf"(?<!\w)(?:{found})(?!\w)") if found else None

    def text(self, text: str) -> str:
        """The text without secrets: known ones, users and queries of addresses, values of telling names."""
        for one in self._known:
            text = _cut(text.replace(one, MASK), one)
        text = self._words.sub(MASK, text) if self._words is not None else text
        text = _HEADER.sub(rf"\1 {MASK}", text)
        text = _PAIR.sub(rf"\1{MASK}", text)
        return _URL.sub(_address, text)

    def value(self, value: Any, key: str = "") -> Any:
        """The same for parsed JSON or TOML: what is below a telling key is masked whatever it is."""
        if key in ("webhook", "url") and isinstance(value, str):
            parts = urlsplit(value)  # path and query often are the secret
            return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/{MASK}"
        if key == "command" and isinstance(value, list | tuple):
            return [self.text(str(one)) for one in value[:1]] + [MASK for _ in value[1:]]
        if key == "body" or (_SECRET_KEY.search(key) and not names_a_file(key)):
            return value if value is None else MASK
        if isinstance(value, Mapping):
            return {self.text(str(name)): self.value(inner, str(name)) for name, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(inner) for inner in value]
        return self.text(value) if isinstance(value, str) else value


def _cut(text: str, secret: str) -> str:
    """The text without what a limit of length left of a secret: its first part before an end, or its last part after one."""
    if len(secret) <= _TELLING:
        return text
    if secret[:_TELLING] in text:
        text = _without_beginning(text, secret, MASK)
    if secret[-_TELLING:] in text:
        text = _without_beginning(text[::-1], secret[::-1], MASK[::-1])[::-1]
    return text


def _without_beginning(text: str, secret: str, mask: str) -> str:
    kept, at = [], 0
    while (found := text.find(secret[:_TELLING], at)) >= 0:
        there = text[found : found + len(secret)]
        end = found + next(
            (at for at, (one, other) in enumerate(zip(there, secret, strict=False)) if one != other), len(there)
        )
        goes_on = text[end : end + 1].isalnum()  # then it is a word that only begins like the secret
        kept += [text[at:end]] if goes_on else [text[at:found], mask]
        at = end
    return "".join([*kept, text[at:]])


def names_a_file(key: str) -> bool:
    """Whether a key says where a secret is, and not which it is: `secret_file`, and `url_file` of an address that is one."""
    return bool(_PLACE_OF_SECRET.search(key))


def arguments(argv: Sequence[str]) -> Iterator[str]:
    """What may be a secret of a command's arguments: `SECRET`, `--password=SECRET`, `-pSECRET`. No paths, no `--options`."""
    for word in argv[1:]:
        option = _OPTION.fullmatch(word)
        if word.startswith("/") or (option and (word.startswith("--") or len(word) == 2)):
            continue
        yield word
        yield word.rpartition("=")[2]
        if word.startswith("-"):
            yield word[2:]


def arguments_written(text: str) -> Iterator[str]:
    """The same of a configuration file, which need not be good TOML."""
    for inside in _ARGUMENTS.findall(text):
        yield from arguments([one or other for one, other in _TEXT.findall(inside)])


def written(text: str) -> list[str]:
    """The secrets in a configuration file, which need not be good TOML."""
    return [one or other for one, other in _WRITTEN.findall(text)] + [
        found[0] for found in re.finditer(r"(?<=://)[^/\s@'\"]+(?=@)", text)
    ]


def _address(found: re.Match[str]) -> str:
    whole = found[0]
    user = f"{MASK}@" if "@" in whole.partition("://")[2].partition("/")[0] else ""
    query = f"?{MASK}" if "?" in whole else ""
    return f"{found['scheme']}{user}{found['rest']}{query}"
