"""Durations, sizes and percentages, as people write them and as they are told."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules.units import bytes_in_words, duration, fraction, in_words, size

SECONDS = {"w": 604800, "d": 86400, "h": 3600, "m": 60, "s": 1}
BYTES = {
    "B": 1,
    "kB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}
laws = settings(max_examples=100, deadline=None)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0s", 0.0),
        ("500ms", 0.5),
        ("30s", 30.0),
        ("5m", 300.0),
        ("12h", 43200.0),
        ("7d", 604800.0),
        ("2w", 1209600.0),
        ("1.5h", 5400.0),
        ("1h30m", 5400.0),
        (" 1h 30 m ", 5400.0),
        ("36525d", 3155760000.0),
    ],
)
def test_a_duration_is_numbers_with_units(text: str, seconds: float) -> None:
    """A duration is the sum of its numbers times their units."""
    assert duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["", "5", "s", "5 parsecs", "5M", "5S", "-5s", "+5s", "1e3s", "1.s", ".5s", "5s5", "5s,3m", "nan", "inf", "∞s"],
)
def test_what_is_no_duration(text: str) -> None:
    """Anything else is refused with the text and with examples."""
    with pytest.raises(ValueError, match="is not a duration") as caught:
        duration(text)
    assert str(caught.value) == f'{text!r} is not a duration; write for example "500ms", "30s", "5m", "12h" or "7d"'


@pytest.mark.parametrize("text", ["36526d", "9" * 400 + "s", "99999999999999999999w"])
def test_a_duration_ends(text: str) -> None:
    """A duration of more than a hundred years, let alone an infinite one, is refused."""
    with pytest.raises(ValueError, match="is longer than a hundred years"):
        duration(text)


@laws
@given(st.fixed_dictionaries({}, optional={unit: st.integers(0, 5000) for unit in SECONDS}).filter(bool))
def test_durations_round_trip(parts: dict[str, int]) -> None:
    """What is written as numbers with units is read as exactly that many seconds."""
    wanted = sum(number * SECONDS[unit] for unit, number in parts.items())
    text = "".join(f"{number}{unit}" for unit, number in parts.items())
    if wanted <= 3155760000:
        assert duration(text) == wanted


@laws
@given(st.integers(0, 10**18), st.sampled_from(sorted(BYTES)), st.sampled_from(["", " "]))
def test_sizes_round_trip(count: int, unit: str, space: str) -> None:
    """A size is read to the byte, however large it is."""
    number = count // BYTES[unit]
    assert size(f"{number}{space}{unit}") == number * BYTES[unit]


@pytest.mark.parametrize(
    ("text", "count"), [("1.5kB", 1500), ("0.1GB", 100_000_000), ("4GiB", 2**32), ("0.5KiB", 512), (" 1KB ", 1000)]
)
def test_a_size_is_a_number_with_a_unit(text: str, count: int) -> None:
    """kB, MB, GB and TB are powers of 1000; KiB, MiB, GiB and TiB are powers of 1024."""
    assert size(text) == count


@pytest.mark.parametrize("text", ["", "5", "GB", "-5GB", "5gb", "5 G", "1GB1MB", "1e3B", "nanB", "٣ GB x"])
def test_what_is_no_size(text: str) -> None:
    """Anything else is refused with the text and with examples."""
    with pytest.raises(ValueError, match="is not a size") as caught:
        size(text)
    assert str(caught.value) == f'{text!r} is not a size; write for example "500kB", "50GB" or "4GiB"'


@pytest.mark.parametrize(("text", "part"), [("0%", 0.0), ("15%", 0.15), (" 2.5 % ", 0.025), ("100%", 1.0)])
def test_a_fraction_is_a_percentage(text: str, part: float) -> None:
    """A fraction is written as a percentage from 0 to 100."""
    assert fraction(text) == part


@pytest.mark.parametrize("text", ["", "15", "%", "-1%", "100.1%", "15%%", "9" * 400 + "%"])
def test_what_is_no_fraction(text: str) -> None:
    """Anything else is refused with the text and with an example."""
    with pytest.raises(ValueError, match="is not a percentage") as caught:
        fraction(text)
    assert str(caught.value) == f'{text!r} is not a percentage; write for example "15%"'


@laws
@given(st.text() | st.from_regex(r"\A\s*[\d.]{0,400}\s*[a-zA-Z%]{0,3}\s*\Z"))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Whatever is written is a number that is not negative, or a ValueError."""
    for read in (duration, size, fraction):
        try:
            number = read(text)
        except ValueError:
            continue
        assert number >= 0


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.0, "0 ms"),
        (0.5, "500 ms"),
        (1.0, "1 s"),
        (59.0, "59 s"),
        (60.0, "1 min"),
        (300.0, "5 min"),
        (5400.0, "1.5 h"),
        (43200.0, "12 h"),
        (604800.0, "7 d"),
        (86400.0 * 999.5, "1000 d"),
        (86400.0 * 1000, "1000 d"),
        (86400.0 * 36525, "36525 d"),
    ],
)
def test_durations_in_words(seconds: float, words: str) -> None:
    """A duration is told in its largest unit, in plain figures."""
    assert in_words(seconds) == words


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (16_384, "16.4 kB"),
        (999_499, "999 kB"),
        (999_500, "1 MB"),
        (999_999, "1 MB"),
        (2_147_483_648, "2.15 GB"),
        (999_999_999_999, "1 TB"),
        (10**15, "1000 TB"),
        (1234 * 10**12, "1234 TB"),
    ],
)
def test_sizes_in_words(count: int, words: str) -> None:
    """A size is told in its largest unit, in plain figures."""
    assert bytes_in_words(count) == words


@laws
@given(st.floats(0.1, 3e9))
def test_durations_in_words_are_what_they_say(seconds: float) -> None:
    """The words, read again, are the duration to three figures."""
    assert duration(in_words(seconds).replace("min", "m")) == pytest.approx(seconds, rel=0.0051)


@laws
@given(st.integers(0, 10**18))
def test_sizes_in_words_are_what_they_say(count: int) -> None:
    """The words, read again, are the size to three figures."""
    assert size(bytes_in_words(count)) == pytest.approx(count, rel=0.0051)
