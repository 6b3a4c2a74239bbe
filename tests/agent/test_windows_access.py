"""What an access control list lets others do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.host.windows.access import TRUSTED, Grant, is_trusted, mode, sid_of

USER = "S-1-5-21-1-2-3-1001"
FULL, READ, WRITE, MODIFY = 0x1F01FF, 0x120089, 0x120116, 0x1301BF


@pytest.mark.parametrize(
    ("grants", "bits"),
    [
        ([], 0),
        ([(USER, FULL), ("S-1-5-18", FULL), ("S-1-5-32-544", FULL)], 0),
        ([("S-1-5-32-545", READ)], 0o004),  # a file below C:\ProgramData
        ([("S-1-5-11", MODIFY)], 0o006),  # a file below another drive's root
        ([("S-1-5-21-1-2-3-513", WRITE)], 0o002),  # all users of a domain
        ([("S-1-5-21-1-2-3-2000", MODIFY)], 0o060),  # one account, or a group of a few
        ([("S-1-1-0", 0x100080)], 0),  # attributes
        ([("S-1-1-0", 0x10000000)], 0o006),
        (None, 0o066),
    ],
)
def test_a_list_comes_to_these_bits(grants: list[tuple[str, int]] | None, bits: int) -> None:
    """Everybody counts as others, a named account as the group, and the agent's account and administrators as nobody."""
    assert mode(None if grants is None else [Grant(*one) for one in grants], USER) == bits


GRANTS = st.lists(
    st.builds(
        Grant, st.sampled_from([USER, "S-1-1-0", "S-1-5-21-9-9-9-9", *sorted(TRUSTED)]), st.integers(0, 2**32 - 1)
    )
)


@given(GRANTS, GRANTS)
def test_an_entry_more_never_makes_it_less(some: list[Grant], more: list[Grant]) -> None:
    """The bits of two lists together are those of one and of the other, in any order."""
    assert mode([*some, *more], USER) == mode([*more, *some], USER) == mode(some, USER) | mode(more, USER)


def test_the_installer_of_windows_may_own_files_and_another_user_may_not() -> None:
    """As root and another user on POSIX systems."""
    assert is_trusted("S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464", USER)
    assert is_trusted(USER, USER)
    assert not is_trusted("S-1-5-21-1-2-3-1002", USER)


@pytest.mark.parametrize(
    ("account", "sid"),
    [
        ("NT SERVICE\\TrustedInstaller", "S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464"),
        ("LocalSystem", "S-1-5-18"), ("NT AUTHORITY\\LocalService", "S-1-5-19"), ("NT Authority\\Network Service", "S-1-5-20"),
        ("ada", None), ("LAB\\System", None),
    ],
)  # fmt: skip
def test_accounts_that_every_windows_has_need_not_be_asked_for(account: str, sid: str | None) -> None:
    """That of a service is made of its name, before there is the service."""
    assert sid_of(account) == sid
