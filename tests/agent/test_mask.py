"""What a support bundle leaves out."""

import pytest

from agent.observe.mask import MASK, Masker, arguments, arguments_written

ARGV = [
    "/usr/bin/put",
    "--verbose",
    "-v",
    "-phunter2",
    "--key=k7",
    "ab",
    "/etc/put.conf",
    "s3cr3t-of-some-length",
    "-x=y1",
]


def test_arguments_that_may_be_secrets() -> None:
    """Whole, after `=`, and behind a letter; neither options nor paths."""
    assert set(arguments(ARGV)) == {
        "-phunter2", "hunter2", "--key=k7", "k7", "key=k7", "ab", "s3cr3t-of-some-length", "-x=y1", "y1", "=y1",
    }  # fmt: skip


@pytest.mark.parametrize("written", [False, True], ids=["in effect", "written"])
def test_arguments_are_masked_in_what_the_command_said(written: bool) -> None:
    """Short ones as words; what merely contains them is left."""
    text = "rules = [{ then = [{ command = [" + ", ".join(f'"{one}"' for one in ARGV) + "] }] }]"
    masker = Masker([], arguments_written(text) if written else arguments(ARGV))
    said = (
        "put: ab: no login -phunter2 hunter2 with k7, y1 and 's3cr3t-of-some-length' about /etc/put.conf --verbose tabs"
    )
    assert masker.text(said) == (
        f"put: {MASK}: no login {MASK} {MASK} with {MASK}, {MASK} and '{MASK}' about /etc/put.conf --verbose tabs"
    )


@pytest.mark.parametrize("length", range(8, 24))
def test_a_secret_that_a_limit_of_length_cut_is_masked(length: int) -> None:
    """Its first part before the end of a text or line, its last one after a beginning; words that begin like it stay."""
    secret = "s3cr3t-of-some-long-kind"
    masker = Masker([secret])
    first, last = secret[:length], secret[-length:]
    text = f'put failed: {first}\n{last} was refused\nreason="{first}"'
    assert masker.text(text) == f'put failed: {MASK}\n{MASK} was refused\nreason="{MASK}"'
    assert masker.text("s3cr3t-of-some-longer-kind") == "s3cr3t-of-some-longer-kind"
