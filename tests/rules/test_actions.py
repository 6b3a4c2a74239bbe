"""`then` and `share_with`, as actions; each mistake says what to write instead."""

import re
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.actions import Command, Flow, Share, Webhook, label, named
from rules.config.config_error import RuleError
from rules.rule import Rule
from tests import configured

FLOW = "11111111-2222-3333-4444-555555555555"


def rule(**keys: Any) -> Rule:
    """A rule that delivers to `campus`, of a configuration in a folder /cfg."""
    table = {"name": "r", "watch": "/data", "deliver": [{"to": "campus"}], **keys}
    absolute = lambda path: path if path.startswith("/") else f"/cfg/{path}"  # noqa: E731
    campus = {"transport": "globus", "collection": FLOW}
    return configured.rules({"rules": [table], "destinations": {"campus": campus}}, absolute=absolute)[0]


def read(**keys: Any) -> Any:
    """The action of these keys."""
    return rule(then=[keys]).then[0]


def test_each_kind_is_read_with_its_defaults() -> None:
    """What is not written has a default; paths count from the folder of the configuration."""
    assert read(webhook="https://example.org/hook?x=1") == Webhook("https://example.org/hook?x=1")
    assert read(webhook="http://x:8080", secret_file="s", header="X-Key", timeout="5s") == Webhook(
        "http://x:8080", "/cfg/s", "X-Key", 5.0
    )
    assert read(webhook="http://x", secret_file="/s") == Webhook("http://x", "/s", "Authorization")
    assert read(command=("python", "-x", "")) == Command(("python", "-x", ""))
    assert read(command=("./after.sh",), timeout="1m") == Command(("/cfg/./after.sh",), 60.0)
    assert read(flow=FLOW.upper()) == Flow(FLOW)
    assert read(flow=FLOW, body={"a": ["{folder:campus}", 1]}) == Flow(FLOW, {"a": ["{folder:campus}", 1]})


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({}, "then.0: write a table with exactly one of webhook, command, flow"),
        ({"timeout": "1s"}, "exactly one of"),
        ({"webhook": "http://x", "command": ("x",)}, "exactly one of"),
        ({"webhook": "ftp://x"}, "no address such as 'https://example.org/hook'"),
        ({"webhook": "file:///etc/passwd"}, "no address"),
        ({"webhook": ""}, "no address"),
        ({"webhook": "https://"}, "no address"),
        ({"webhook": "http://x:99999"}, "no address"),
        ({"webhook": "http://[x"}, "no address"),
        ({"webhook": "http://x/a b"}, "no address"),
        ({"webhook": "http://a..b/"}, "no address"),
        ({"webhook": f"http://{'a' * 64}.org/"}, "no address"),
        ({"webhook": "http://x/\n"}, "no address"),
        ({"webhook": "http://x/é"}, "no address"),
        ({"webhook": "http://me:pass@x"}, "has a password in it"),
        ({"webhook": "http://x/#y"}, "has a '#'"),
        ({"webhook": "http://x", "header": "X-Key"}, "add that"),
        ({"webhook": "http://x", "header": "a b", "secret_file": "s"}, "no header that can be set"),
        ({"webhook": "http://x", "header": "Content-Length", "secret_file": "s"}, "no header that can be set"),
        (
            {"webhook": "http://x", "body": {}},
            "then.0.body: unknown key; known are header, name, secret_file, timeout, webhook",
        ),
        ({"webhook": "http://x", "timeout": "0s"}, "then.0.timeout: Input should be greater than 0"),
        ({"command": ()}, "the command is a list"),
        ({"command": ("",)}, "the command is a list"),
        ({"command": ("x", "\0")}, "the command is a list"),
        ({"command": ("x",), "timeout": "2d"}, "Input should be less than or equal to 86400"),
        ({"command": ("x",), "secret_file": "s"}, "then.0.secret_file: unknown key"),
        ({"flow": "process"}, "is no UUID"),
        ({"flow": FLOW, "timeout": "1s"}, "then.0.timeout: unknown key"),
        ({"flow": FLOW, "body": {"a": "{nonsense}"}}, "the unknown field {nonsense}; known are event, batch"),
        ({"flow": FLOW, "body": {"a": ["{folder:share}"]}}, "no destination 'share'"),
        ({"flow": FLOW, "body": {"a": "{files:x}"}}, "no destination 'x'"),
        ({"flow": FLOW, "body": {"a": "{"}}, "braces that mean themselves are doubled"),
        ({"flow": FLOW, "body": {"a": float("nan")}}, "JSON cannot carry"),
        ({"flow": FLOW, "body": {"a": date(2026, 1, 1)}}, "JSON cannot carry"),
    ],
)
def test_a_mistake_says_what_to_write(keys: dict[str, Any], says: str) -> None:
    """Nothing that could never work, or would do something else than it seems to, is taken."""
    with pytest.raises(RuleError, match=re.escape(says)):
        read(**keys)


@pytest.mark.parametrize(
    ("text", "is_"),
    [
        ("Ada@Example.org", Share("identity", "ada@example.org")),
        (FLOW.upper(), Share("identity", FLOW)),
        (f"group:{FLOW}", Share("group", FLOW)),
        (f"{FLOW}@clients.auth.globus.org", Share("identity", f"{FLOW}@clients.auth.globus.org")),
    ],
)
def test_whom_to_share_with(text: str, is_: Share) -> None:
    """User names, ids of identities, ids of groups."""
    assert rule(share_with=[text]).share_with == (is_,)
    assert is_.by_name == ("@" in text)


@pytest.mark.parametrize(
    "text", ["", "ada", "a b@c", "group:crew", "group:a@b", f"user:{FLOW}", "@", "all", "*", f":{FLOW}"]
)
def test_nobody_else_is_shared_with(text: str) -> None:
    """In particular, not everybody."""
    with pytest.raises(RuleError, match="no user name"):
        rule(share_with=[text])


def test_an_action_is_named_by_a_person_or_by_what_it_calls() -> None:
    """Neither its place nor its other keys count; two that call the same are numbered."""
    then = [
        Webhook("http://a"), Command(("x",)), Webhook("http://b", timeout=5.0), Flow(FLOW), Webhook("http://b"),
        Webhook("http://c", name="catalogue"),
    ]  # fmt: skip
    people = [Share("identity", "a@b"), Share("group", FLOW)]
    found = named(then, people)
    assert list(found) == [
        "webhook-032fdcf4", "command-cd65ea2c", "webhook-2bcb6c61", "flow-16b81fda", "webhook-2bcb6c61-2",
        "catalogue", "share-a@b", f"share-{FLOW}",
    ]  # fmt: skip
    assert list(found.values()) == [*then, *people]
    assert set(named(then[::-1], people)) == set(found)
    assert named([Webhook("http://a", "/secret", "X-Key", 9.0)], []).keys() == {"webhook-032fdcf4"}


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (("a", "b", "a"), "two actions have the name 'a'; give each another one"),
        (("webhook-1",), "the name 'webhook-1' begins as those of actions without a name; choose another one"),
        (("share-x",), "begins as those of actions without a name"),
        (("a b",), "then.0.name: String should match pattern"),
    ],
)
def test_a_name_is_of_one_action(names: tuple[str, ...], says: str) -> None:
    """It can neither be written twice nor be that of an action without one."""
    with pytest.raises(RuleError, match=re.escape(says)):
        rule(then=[{"webhook": "http://x", "name": name} for name in names])


def test_what_is_shown_of_a_webhook_has_no_secrets() -> None:
    """Its path and query often are."""
    assert Webhook("https://hooks.example.org:8443/T0/secret?token=x").shown == "https://hooks.example.org:8443"


def test_people_read_the_kind_of_an_action_without_a_name() -> None:
    """A digest tells nobody anything; a name of the configuration stays as it is."""
    names = ["webhook-032fdcf4", "webhook-2bcb6c61-2", "catalogue", "catalogue-032fdcf4", "share-ada@example.org"]
    assert [label(name) for name in names] == [
        "webhook",
        "webhook",
        "catalogue",
        "catalogue-032fdcf4",
        "share-ada@example.org",
    ]


@given(st.permutations(["x", "x-1", "x-2", "x-2-1"]))
def test_a_name_of_the_configuration_stays_as_it_is(names: list[str]) -> None:
    """Whatever the others are, and in whatever order: no action is lost, and none gets another one's queue."""
    then = [Webhook(f"http://{name}", name=name) for name in names]
    assert named(then, []) == dict(zip(names, then, strict=True))
