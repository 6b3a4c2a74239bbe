"""Who may ask for the pages: host names and the token, without a network."""

import base64
import platform
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.observe.web.gate import SHUT, TRIES, Denied, Gate

TOKEN = "correct-horse-battery"


class Clock:
    """Time that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


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
    gate = Gate(hosts, None, Clock(), beyond=beyond)
    for host in taken:
        assert gate.host(asked(host=host)) is None, host
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
        assert code(gate.host(asked(host=host))) == 421, host


def test_without_a_token_nothing_is_wanted() -> None:
    """Whatever a client sends along."""
    gate = Gate((), None, Clock(), beyond=False)
    for header in (None, "Bearer x", "Basic !", ""):
        assert gate.token(asked(header)) is None


@given(
    st.one_of(
        st.text(),
        st.binary().map(lambda raw: "Basic " + base64.b64encode(raw).decode()),
        st.text().map("Bearer {}".format),
    )
)
def test_whatever_is_no_token_is_turned_away(header: str) -> None:
    """In words, and never by an exception."""
    gate = Gate((), TOKEN, Clock(), beyond=True)
    assert code(gate.token(asked(header))) == 401
    assert gate.token(asked(f"bEaReR {TOKEN}")) is None


def test_who_tries_often_is_shut_out_for_a_while() -> None:
    """That address, and not the others; the right token does not help it until the time is over."""
    clock = Clock()
    gate = Gate((), TOKEN, clock, beyond=True)
    for _ in range(TRIES):
        assert code(gate.token(asked("Bearer wrong"))) == 401
    denied = gate.token(asked(f"Bearer {TOKEN}"))
    assert (code(denied), denied.headers if denied else ()) == (429, (("Retry-After", "61"),))
    assert gate.token(asked(f"Bearer {TOKEN}", peer="192.0.2.8")) is None
    clock.now = SHUT - 0.5
    assert code(gate.token(asked(f"Bearer {TOKEN}"))) == 429
    clock.now = SHUT
    assert gate.token(asked(f"Bearer {TOKEN}")) is None


def test_asking_without_a_token_is_no_attempt() -> None:
    """A browser asks so before it asks its user; the right token forgives what was wrong before."""
    gate = Gate((), TOKEN, Clock(), beyond=True)
    for _ in range(3 * TRIES):
        assert code(gate.token(asked())) == 401
        assert code(gate.token(asked("Bearer wrong"))) == 401
        assert gate.token(asked(f"Bearer {TOKEN}")) is None


def test_many_addresses_take_no_memory() -> None:
    """However many try, a bounded number is remembered, and the last ones are."""
    gate = Gate((), TOKEN, Clock(), beyond=True)
    for number in range(3000):
        for _ in range(TRIES):
            gate.token(asked("Bearer wrong", peer=str(number)))
    assert len(gate._wrong) == 1000
    assert code(gate.token(asked("Bearer wrong", peer="2999"))) == 429
