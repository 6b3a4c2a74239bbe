"""What people read."""

import re
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from rules.notice.message import (
    Digest,
    Message,
    RefusedFile,
    compose,
    digest,
    down,
    in_chat,
    recovered,
    refused,
    together,
    trial,
)

T = 1_800_000_000.0
BERLIN = ZoneInfo("Europe/Berlin")
FOOT = "Dropline on pc7. `dropline status` says how things stand."


def test_refused_files_come_with_their_reasons_and_the_next_step() -> None:
    """Path, rule, reason with its hint; how many more; which command."""
    listed = [
        RefusedFile("/data/a", "tomo", "a link, not a file; exclude it"),
        RefusedFile("/data/b", "r", "why; hint"),
    ]
    message = compose("pc7", [refused(5, listed)], "http://127.0.0.1:9469/")
    assert message == Message(
        "[dropline pc7] 5 files refused",
        "5 files were refused: each waits until you act.\n\n"
        "    /data/a (rule tomo)\n    a link, not a file; exclude it\n\n"
        "    /data/b (rule r)\n    why; hint\n\n"
        "... and 3 more\n\n"
        "All of them: `dropline files --state refused`. When the cause is gone: `dropline retry`.\n\n----\n\n"
        "Dropline on pc7. `dropline status` says how things stand, and so does http://127.0.0.1:9469/ there.",
    )
    assert refused(1, listed[:1]).text.startswith("1 file was refused: each waits until you act.\n\n    /data/a")


def test_a_destination_comes_with_its_cause() -> None:
    """Down, waiting for a person, and up again: since when, why, what next, what waits."""
    text = (
        "Destination share (/mnt/share) takes no files since 2027-01-15 09:00:00+01:00.\n\nCause:\n    not mounted\n"
        "Next: remove the cause. It {} \n"
        "Meanwhile nothing is written there, and no local file that needs it is deleted; 3 deliveries are waiting."
    ).replace("} \n", "}\n")
    passing = down("share", "/mnt/share", T, "not mounted", 3, BERLIN, acute=False)
    assert passing.headline == "destination share is down"
    assert passing.text == text.format(
        "is looked at again every minute or sooner, and continues when the cause is gone."
    )
    acute = down("share", "/mnt/share", T, "not mounted", 3, BERLIN, acute=True)
    assert acute.headline == "destination share waits for you"
    assert acute.text == text.format("continues within seconds after that.")
    back = recovered("share", "/mnt/share", T, 3, T + 7200)
    assert back.headline == "destination share is up again"
    assert back.text == "Destination share (/mnt/share) takes files again after 2 h; 3 deliveries are on the way there."
    assert recovered("share", "/s", None, 0, T).text == "Destination share (/s) takes files again."


def test_an_hour_that_comes_twice_is_told_by_its_offset() -> None:
    """02:30 by both clocks, when daylight saving time ends."""
    at = datetime(2026, 10, 25, 0, 30, tzinfo=UTC).timestamp()
    texts = [
        down("share", "/s", when, "gone", 1, BERLIN, acute=False).text.partition("since ")[2]
        for when in (at, at + 3600)
    ]
    assert [text.partition(".")[0] for text in texts] == ["2026-10-25 02:30:00+02:00", "2026-10-25 02:30:00+01:00"]


def test_what_is_said_at_once_is_one_message() -> None:
    """Two headlines stand in the subject, more are counted; the parts follow each other."""
    parts = [refused(2, []), recovered("a", "/a", None, 0, T), recovered("b", "/b", None, 0, T)]
    assert compose("pc7", parts[:2], "").subject == "[dropline pc7] 2 files refused; destination a is up again"
    assert compose("pc7", parts, "").subject == "[dropline pc7] 2 files refused; 2 more"
    assert compose("pc7", parts, "").body == "\n\n----\n\n".join([*(part.text for part in parts), FOOT])


def test_the_digest_says_whether_all_is_well() -> None:
    """Per rule; then what needs somebody, or that nothing does."""
    quiet = Digest(T - 86400, {}, {"tomo": (0, 0)}, {}, 0, [], 0)
    good = digest(quiet, T, BERLIN)
    assert good.headline == "all is well: 0 files verified, 0 on the way"
    assert good.text == (
        "Since 2027-01-14 09:00:00+01:00: 0 files (0 B) verified at every destination.\n\n"
        "rule tomo: 0 files (0 B) verified, 0 files (0 B) on the way\n\nNothing waits for you."
    )
    bad = digest(
        Digest(
            T - 86400, {"tomo": (3, 3000), "old": (1, 5)}, {"tomo": (2, 10)}, {"tomo": T - 7200}, 4, [("share", "gone")], 6
        ),
        T, BERLIN,
    )  # fmt: skip
    assert bad.headline == "3 to look at: 4 files verified, 2 on the way"
    assert bad.text.splitlines() == [
        "Since 2027-01-14 09:00:00+01:00: 4 files (3 kB) verified at every destination.",
        "",
        "rule old: 1 file (5 B) verified, 0 files (0 B) on the way",
        "rule tomo: 3 files (3 kB) verified, 2 files (10 B) on the way, the oldest for 2 h",
        "",
        "destination share is down:",
        "    gone",
        "4 files refused: `dropline files --state refused` says what to do",
        "6 actions for verified batches failed and are tried again: `dropline status`",
    ]


def test_what_waited_comes_as_one_message() -> None:
    """One alone as it is; several under the subject of the last, oldest first; too many are counted."""
    one, two = Message("s1", "b1"), Message("s2", "b2")
    assert together([one]) == one
    assert together([one, two]) == Message("s2 (and 1 before)", "s1\n\nb1\n\n====\n\ns2\n\nb2")
    many = together([Message(f"s{number}", "x" * 5000) for number in range(50)])
    assert many.subject == "s49 (and 49 before)"
    assert many.body.startswith("48 earlier messages are left out.\n\n====\n\ns48\n\n")


@given(st.lists(st.builds(Message, st.text(max_size=50), st.text(max_size=30000)), min_size=1, max_size=5))
def test_chat_never_gets_more_than_it_takes(messages: list[Message]) -> None:
    """Mattermost takes 16,383 characters."""
    assert len(in_chat(together(messages))) <= 16_383


NAMES = st.text(st.sampled_from("`<>&!@|[]()*_~: /x\\'"), max_size=40)


@given(NAMES, st.booleans())
def test_names_are_no_markup_in_chats(name: str, acute: bool) -> None:
    """Each is in its own code span line, with what Slack reads even there escaped; commands of ours stay code."""
    name = f"MARK{name}"
    parts = [
        refused(1, [RefusedFile(f"/data/{name}", "r", f"at share, {name!r} is not a file; then `dropline retry`")]),
        down("share", "/mnt/share", T, f"/mnt/share: {name}", 1, BERLIN, acute=acute),
        digest(Digest(T, {}, {}, {}, 1, [("share", name)], 0), T, BERLIN),
    ]
    lines = in_chat(compose("pc7", parts, "")).split("\n")
    assert len([line for line in lines if "MARK" in line]) == 4
    for line in lines:
        assert not re.search(r"[<>]|&(?!(amp|lt|gt);)", line), line
        assert "MARK" not in re.sub(r"^`[^`]+`$", "", line), line
    assert "All of them: `dropline files --state refused`. When the cause is gone: `dropline retry`." in lines


def test_the_trial_says_that_it_is_one() -> None:
    """`dropline notify --test`."""
    text = "This is a test: messages come here when Dropline needs a person."
    assert trial("pc7") == Message("[dropline pc7] this is a test", f"{text}\n\n----\n\n{FOOT}")
