"""Checksum lists that come with the data."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.datasets.manifest import NoList, Sum, entries

MD5, SHA = "0" * 31 + "a", "f" * 64
names = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), min_size=1).filter(
    lambda name: name.strip() == name and not name.startswith("./")
)


def parse(text: str, columns: tuple[str, str] | None = None, *, bag: bool = False) -> list[Sum] | str:
    """What a list says, or what is wrong with it. It comes in blocks of any size."""
    found = []
    for size in (7, 1000, len(text) + 1) if len(text) < 1000 else (1000, len(text)):
        blocks = [text[at : at + size] for at in range(0, len(text), size)]
        try:
            found.append([one for one in entries(blocks, columns, bag=bag) if one is not None])
        except NoList as error:
            found.append(str(error))
    assert found[1:] == found[:-1]
    return found[0]


def written(path: str, checksum: str) -> str:
    """A line as GNU md5sum writes it: names with line ends or backslashes are escaped."""
    escaped = path.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    return f"{'' if escaped == path else chr(92)}{checksum}  {escaped}\n"


@given(st.dictionaries(names, st.sampled_from(["md5", "sha1", "sha256", "sha512"]), min_size=1))
def test_what_md5sum_and_its_like_write_is_read(files: dict[str, str]) -> None:
    """Any name, any algorithm."""
    sums = [Sum(path, name, hashlib.new(name, path.encode()).hexdigest()) for path, name in files.items()]
    assert parse("".join(written(one.path, one.checksum) for one in sums)) == sums


@given(st.text(), st.booleans())
def test_no_text_breaks_it(text: str, bag: bool) -> None:
    """Whatever the file holds, there are sums or a reason."""
    assert parse(text, bag=bag) is not None
    assert parse(f"a,b\n{text}", ("a", "b")) is not None


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"{MD5} *a b.tif\r\n", [Sum("a b.tif", "md5", MD5)]),
        (f"\ufeff{SHA.upper()}\tdata/x\n\n# a comment\n", [Sum("data/x", "sha256", SHA)]),
        (f"SHA256 (a (1).czi) = {SHA}\n", [Sum("a (1).czi", "sha256", SHA)]),
        (f"{MD5}  ./a\n", [Sum("a", "md5", MD5)]),
        ("", "is empty"),
        ("\n", []),
        ("a" * 2**17, "has a line of more than 65536 characters"),
        (f"{MD5}  a\n{MD5[:9]}", "ends in the middle of a line"),
        (f"{MD5}  a\nhello\n", "has a line 2 that is no checksum"),
        (f"{MD5}0  a\n", "has a line 1 that is no checksum"),
    ],
)
def test_lists(text: str, found: list[Sum] | str) -> None:
    """GNU and BSD lines, and what is wrong with the rest."""
    assert parse(text) == found


def test_names_in_a_bag_are_percent_encoded() -> None:
    """Only line ends and the percent sign itself."""
    assert parse(f"{MD5}  data/a%25%0A%20\n", bag=True) == [Sum("data/a%\n%20", "md5", MD5)]
    assert parse(f"{MD5}  data/a%25\n") == [Sum("data/a%25", "md5", MD5)]


def test_csv() -> None:
    """By the names of columns, as Nanopore's output_hash has them."""
    columns = ("file_path", "file_hash")
    assert parse(f'run,file_path,file_hash\n1,"a,b",{SHA}\n', columns) == [Sum("a,b", "sha256", SHA)]
    assert parse("run,path\n1,2\n", columns) == "has no columns 'file_path' and 'file_hash'"
    assert parse("file_path,file_hash\na,b\n", columns) == "has a line 2 that is no checksum"
    assert parse("file_path,file_hash\n\n", columns) == []
    assert parse(f"file_path,file_hash\n{'a' * 2**17},{SHA}\n", columns) == "has a line of more than 65536 characters"
