"""Text that others wrote."""

import ast

from hypothesis import given
from hypothesis import strategies as st

from rules.text import alike, printable, quoted

ANY = st.text(st.characters(codec=None) | st.sampled_from('"\\\n\x1b'))


@given(ANY)
def test_what_is_printed_gives_no_orders(text: str) -> None:
    """Neither to a terminal nor to who reads line by line; to escape it twice changes nothing."""
    shown = printable(text)
    assert shown.isprintable()
    assert printable(shown) == shown


@given(ANY)
def test_nothing_ends_a_quotation_but_its_end(text: str) -> None:
    """Each text has one of its own, from which it can be read again."""
    shown = quoted(text)
    assert shown.isprintable()
    assert ast.literal_eval(shown) == text


def test_texts_about_different_files_are_alike() -> None:
    """What tells them apart is left out, and what tells one cause from another stays."""
    one = alike("at share, run 7/a.h5 is there already (12 bytes)", "/data/run 7/a.h5")
    other = alike("at share, run 8/b.h5 is there already (7 bytes)", "/data/run 8/b.h5")
    assert one == other
    assert one != alike("at tape, run 8/b.h5 is there already (7 bytes)", "/data/run 8/b.h5")
    assert alike("the name 'x y' belongs to z", "/data/q") == alike("the name 'v' belongs to z", "/data/r")
