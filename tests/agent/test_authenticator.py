"""Who may ask for the pages: host names and the token, without a network."""

import base64
import platform
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.observe.web.authenticator import Authenticator, Denied

TOKEN = "correct-horse-battery"


def asked(authorization: str | None = None, peer: str = "192.0.2.7", host: str = "localhost") -> dict[str, Any]:
    """A request."""
    given = {} if authorization is None else {"HTTP_AUTHORIZATION": authorization}
    return {"REMOTE_ADDR": peer, "HTTP_HOST": host, **given}


def code(denied: Denied | None) -> int:
    """The status of the answer."""
    return 200 if denied is None else int(denied.status[:3])


@pytest.mark.parametrize(
    ("hosts", "beyond", "taken", "denied"),
    [
        ((), False, ["localhost:1", "LocalHost.", "127.0.0.1:9", "[::1]:9", "10.0.0.1"], ["page.lab", platform.node()]),
        ((), True, [platform.node(), f"{platform.node().upper()}:80", "192.0.2.1:9469"], ["page.lab"]),
        (("page.lab",), True, ["page.lab", "PAGE.lab:443", "localhost"], [platform.node(), "page.lab.evil.org", "lab"]),
        (("page.lab",), False, ["page.lab", "127.0.0.1"], ["sub.page.lab"]),
    ],
)  # fmt: skip
def test_names_are_looked_at_and_addresses_are_not(
    hosts: tuple[str, ...], beyond: bool, taken: list[str], denied: list[str]
) -> None:
    """A name must be known, for names can be made to lead anywhere; an address leads where it says."""
    authenticator = Authenticator(hosts, None, beyond=beyond)
    for host in taken:
        assert authenticator.origin(asked(host=host)) is None, host
    for host in (
        *denied,
        "",
        "evil.org",
        "127.0.0.1.evil.org",
        "localhost:evil.org",
        "[::1",
        "127.0.0.1:80:80",
        "1",
        "@localhost",
    ):
        assert code(authenticator.origin(asked(host=host))) == 421, host


def test_without_a_token_nothing_is_wanted() -> None:
    """Whatever a client sends along."""
    authenticator = Authenticator((), None, beyond=False)
    for header in (None, "Bearer x", "Basic !", ""):
        assert authenticator.token(asked(header)) is None


@given(
    st.one_of(
        st.text(),
        st.binary().map(lambda raw: "Basic " + base64.b64encode(raw).decode()),
        st.text().map("Bearer {}".format),
    )
)
def test_whatever_is_no_token_is_turned_away(header: str) -> None:
    """In words, and never by an exception."""
    authenticator = Authenticator((), TOKEN, beyond=True)
    assert code(authenticator.token(asked(header))) == 401
    assert authenticator.token(asked(f"bEaReR {TOKEN}")) is None


def test_a_token_is_wanted_on_loopback_too() -> None:
    """Where one is configured: a computer may have many users."""
    authenticator = Authenticator((), TOKEN, beyond=False)
    assert code(authenticator.token(asked(None))) == 401
    assert authenticator.token(asked(f"Bearer {TOKEN}")) is None


def test_nobody_shuts_the_right_token_out() -> None:
    """However often somebody at the same address gives wrong ones, or none, as browsers do before they ask their user."""
    authenticator = Authenticator((), TOKEN, beyond=True)
    for _ in range(30):
        assert [code(authenticator.token(asked(header))) for header in ("Bearer wrong", "Basic !", None)] == [401] * 3
    assert authenticator.token(asked(f"Bearer {TOKEN}")) is None


@pytest.mark.parametrize(
    ("site", "how", "answer"),
    [
        (None, {}, 200),
        ("none", {"MODE": "navigate"}, 200),
        ("same-origin", {"MODE": "cors", "DEST": "empty"}, 200),
        ("same-site", {"MODE": "cors", "DEST": "empty"}, 403),
        ("cross-site", {}, 403),
        ("cross-site", {"MODE": "no-cors", "DEST": "script"}, 403),
        ("cross-site", {"MODE": "navigate", "DEST": "iframe", "USER": "?1"}, 403),
        ("cross-site", {"MODE": "navigate", "DEST": "document"}, 403),
        ("cross-site", {"MODE": "navigate", "DEST": "document", "USER": "?1"}, 200),
        ("", {}, 403),
    ],
)
def test_pages_of_other_sites_get_nothing(site: str | None, how: dict[str, str], answer: int) -> None:
    """Neither by a script nor in a frame; a person who follows a link gets here. Programs that are no browsers do not say."""
    request = asked() | {f"HTTP_SEC_FETCH_{key}": value for key, value in how.items()}
    request |= {} if site is None else {"HTTP_SEC_FETCH_SITE": site}
    assert code(Authenticator((), None, beyond=False).origin(request)) == answer
