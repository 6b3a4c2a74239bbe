"""What tokens are good for: scope strings such as `transfer:all[*https://.../data_access]`, and whose they are."""

import re
from typing import NamedTuple

AUTH = "auth.globus.org"
TRANSFER = "transfer.api.globus.org"
GROUPS = "groups.api.globus.org"
FLOWS = "flows.globus.org"
ALL_OF_TRANSFER = f"urn:globus:auth:scope:{TRANSFER}:all"
_FLOWS_ID = "eec9b274-0c81-4334-bdc2-54e90e689b9a"
_URL = re.compile(r"https://auth\.globus\.org/scopes/([^/\s]+)/([^/\s]+)")
_TOKEN = re.compile(r"[^\s\[\]*]+|[\[\]*]")


class Scope(NamedTuple):
    """A scope with those that it may use on behalf of the user."""

    name: str
    needs: tuple["Scope", ...] = ()

    def __str__(self) -> str:
        return self.name + (f"[{' '.join(map(str, self.needs))}]" if self.needs else "")

    def paths(self) -> list[tuple[str, ...]]:
        """Each way from this scope down: (its name), (its name, one that it needs), ..."""
        return [(self.name,), *((self.name, *path) for inner in self.needs for path in inner.paths())]


def parse(text: str) -> list[Scope]:
    """Read a list of scopes; stars (optional, atomically revocable) change nothing here. Raises ValueError."""
    words = [word for word in _TOKEN.findall(text) if word != "*"]
    found, rest = _several(words)
    if rest:
        raise ValueError(f"unbalanced brackets in the scope {text!r}")
    return found


def _several(words: list[str]) -> tuple[list[Scope], list[str]]:
    found: list[Scope] = []
    while words and words[0] != "]":
        if words[0] == "[":
            if not found or found[-1].needs:
                raise ValueError("a bracket in a scope string follows no scope")
            needs, words = _several(words[1:])
            if not words:
                raise ValueError("a bracket in a scope string is not closed")
            found[-1] = Scope(found[-1].name, tuple(needs))
        else:
            found.append(Scope(words[0]))
        words = words[1:]
    return found, words


def data_access(collection: str) -> str:
    """The scope that lets Transfer act on this mapped collection."""
    return f"https://auth.globus.org/scopes/{collection}/data_access"


def flow_user(flow: str) -> str:
    """The scope that lets its holder run this flow."""
    return f"https://auth.globus.org/scopes/{flow}/flow_{flow.replace('-', '_')}_user"


def resource_server(name: str) -> str | None:
    """Whose scope this is, or None for one that nobody knows."""
    if name in ("openid", "profile", "email"):
        return AUTH
    if urn := re.fullmatch(r"urn:globus:auth:scope:([^:]+):[a-z_]+", name):
        return urn[1]
    if url := _URL.fullmatch(name):
        return FLOWS if url[1] == _FLOWS_ID else url[1]
    return None
