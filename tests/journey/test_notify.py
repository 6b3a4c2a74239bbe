"""Being told, as a user meets it: refused files, a destination that goes and comes back, restarts, kills, the trial."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.mailbox import Mailbox, free_port
from tests.receiver import Receiver

if TYPE_CHECKING:
    from tests.journey.conftest import Site


@pytest.fixture
def box() -> Iterator[Mailbox]:
    """A mail server."""
    with Mailbox() as made:
        yield made


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A chat system."""
    with Receiver() as made:
        yield made


def telling(site: Site, port: int, **keys: Any) -> None:
    """The configuration, with e-mail to that server."""
    listen = keys.pop("listen", "")
    site.configure(agent={"listen": listen})
    table = {
        "email": {"host": "127.0.0.1", "port": port, "tls": "none", "from": "d@pc7.org", "to": ["ops@x.org"]}
    } | keys
    text = "".join(f"{key} = {_toml(value)}\n" for key, value in table.items())
    lines = site.config.read_text()
    site.config.write_text(f"{lines}\n[notify]\n{text}")


def _toml(value: Any) -> str:
    import json

    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(inner)}" for key, inner in value.items()) + " }"
    return json.dumps(value)


def headlines(box: Mailbox) -> list[str]:
    """Subjects, without the host."""
    return [subject.partition("] ")[2] for subject, _ in box.told]


def test_once_tells_of_refused_files_and_ends(site: Site, box: Mailbox, receiver: Receiver) -> None:
    """By both channels, each file once, with what to do; the next run has nothing new."""
    telling(site, box.port, webhook={"url": f"{receiver.url}/hook"})
    site.put("good", b"1")
    (site.inbox / "link").symlink_to("good")
    assert site.once() == 1
    assert headlines(box) == ["1 file refused"]
    ((subject, body),) = box.told
    assert f"{site.inbox}/link (rule r)\n    a link, not a file; " in body
    assert "`dropline retry`" in body
    (chat,) = receiver.received
    as_code = re.sub(r"(?m)^ {4}(.*)$", lambda line: f"`{line[1].replace('`', chr(39))}`", body.removesuffix("\n"))
    assert chat.event == {"text": f"{subject}\n\n{as_code}"}
    assert site.once() == 1
    assert len(box.received) == len(receiver.received) == 1


def test_a_share_that_goes_and_comes_back_is_told_across_restarts(site: Site, box: Mailbox) -> None:
    """Down is told by one agent, up by the next; a mail server that was away meanwhile gets what it missed."""
    telling(site, box.port, after="0s")
    site.put("a", b"1")
    assert site.once() == 0
    away = site.root / "away"
    site.share.rename(away)
    site.put("b", b"2")
    assert site.once() == 1
    assert headlines(box) == ["destination share is down"]
    ((_, body),) = box.told
    assert f"Destination share ({site.share}) takes no files since " in body
    assert f"Cause:\n    {site.share}: No such file or directory" in body
    away.rename(site.share)
    telling(site, free_port(), after="0s")
    assert site.once() == 0
    assert "a message waits since" in site.dropline("notify").out
    assert site.dropline("notify").code == 1
    telling(site, box.port, after="0s")
    assert site.once() == 0
    assert headlines(box) == ["destination share is down", "destination share is up again"]
    assert site.dropline("notify").code == 0


def test_a_running_agent_tells_what_a_killed_one_had_not_sent(site: Site, box: Mailbox) -> None:
    """The message is written down first; metrics and log say that it waits; an edited address is enough to send it."""
    telling(site, free_port(), listen="127.0.0.1:0")
    (site.inbox / "link").symlink_to("nowhere")
    assert site.once() == 1
    agent = site.start()
    agent.logs("failed and will be tried again: 127.0.0.1:")
    metrics = agent.get("/metrics").body
    assert "dropline_notices_pending 1.0" in metrics
    assert 'dropline_notices_total{channel="email",outcome="failed"} ' in metrics
    assert agent.stop(signal.SIGKILL) == -signal.SIGKILL
    agent = site.start()
    telling(site, box.port, listen="127.0.0.1:0")
    box.wait(1)
    assert headlines(box) == ["1 file refused"]
    agent.logs(f"1 message by email to ops@x.org through 127.0.0.1:{box.port}: done")
    assert agent.stop() == 0


def test_the_trial_says_whether_mail_goes_out(site: Site, box: Mailbox, tmp_path: Path) -> None:
    """`dropline notify --test`: each channel, its answer, the exit code; no secret in what is printed."""
    hook = tmp_path / "hook"
    hook.write_text("http://127.0.0.1:9/services/hidden")
    hook.chmod(0o600)
    telling(site, box.port, webhook={"url_file": str(hook)})
    assert site.dropline("notify").code == 0
    done = site.dropline("notify", "--test")
    assert done.code == 1
    assert done.out.splitlines() == [
        f"email: ops@x.org through 127.0.0.1:{box.port}",
        f"webhook: the address in {hook}",
        "email: sent; look whether it arrived",
    ]
    assert done.err == "webhook: NOT SENT: http://127.0.0.1:9 cannot be reached: Connection refused\n"
    assert headlines(box) == ["this is a test"]
    site.configure()
    done = site.dropline("notify", "--test")
    assert (done.code, done.out) == (2, "")
    assert "has no [notify]: no message is sent; add [notify.email] or [notify.webhook]" in done.err


def test_check_says_who_is_told(site: Site) -> None:
    """In words."""
    telling(site, 25, digest="07:30")
    out = site.dropline("check").out
    assert "tells ops@x.org through 127.0.0.1:25 of refused files" in out
