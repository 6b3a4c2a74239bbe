"""Who may use the agent's files, by the access control lists of Windows. `test_lane.py` runs it under Wine."""

import sys
from pathlib import Path, PurePath

import pytest

from agent.errors import Refused
from agent.host import own_files, protection, secrets
from rules.config.config_error import RuleError

pytestmark = pytest.mark.skipif(
    sys.platform != "win32", reason="needs Windows; tests/windows/test_lane.py runs it in Wine"
)
EVERYBODY = "S-1-1-0"


def shared(path: Path, text: str) -> Path:
    """A file that everybody may use."""
    from agent.host.windows import access_lists

    path.write_text(text)
    access_lists.keep_to(path, EVERYBODY)
    return path


def test_a_directory_of_the_agent_is_private_and_so_is_what_is_made_in_it(tmp_path: Path) -> None:
    """The state directory with the ledger, and a folder that everybody could use until now."""
    state = tmp_path / "state"
    own_files.make_private_directory(state)
    assert not own_files.facts(state).anybody_may_write
    inner = state / "globus"
    inner.mkdir()
    shared(inner / "x", "")
    own_files.make_inner_directory(inner)
    facts = own_files.facts(inner)
    assert (facts.open_to_others, facts.anybody_may_write) == (False, False)
    assert own_files.another_owner(inner) is None


def test_what_everybody_may_use_is_seen_and_taken_away_once(tmp_path: Path) -> None:
    """As the mode of a file on other systems."""
    path = shared(tmp_path / "tokens", "{}")
    facts = own_files.facts(path)
    assert (facts.open_to_others, facts.anybody_may_write) == (True, True)
    assert own_files.make_private(path)
    assert not own_files.facts(path).open_to_others
    assert not own_files.make_private(path)


def test_a_secret_that_everybody_may_read_is_refused_with_the_command(tmp_path: Path) -> None:
    """icacls, with accounts as numbers: their names depend on the language of Windows."""
    path = shared(tmp_path / "globus.secret", "s3cret")
    with pytest.raises(Refused) as refused:
        secrets.read(path)
    assert str(refused.value).startswith(f"the secret in {path} can be read by others; icacls ")
    assert "/inheritance:r /grant:r *S-1-5-" in protection.private_hint(path)
    own_files.make_private(path)
    assert secrets.read(path) == "s3cret"


def test_a_configuration_that_everybody_may_write_is_refused_with_the_command(tmp_path: Path) -> None:
    """It decides what is deleted."""
    from agent.app.configuration import read

    path = shared(tmp_path / "dropline.toml", "")
    with pytest.raises(RuleError, match=r"may be written by anybody: icacls "):
        read(PurePath(path))
    own_files.make_private(path)
    assert read(PurePath(path)).rules == ()
