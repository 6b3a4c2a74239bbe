"""The configuration: a file, overridden by the environment; each mistake is one line naming file, table and key."""

import os
import re
import time
import tomllib
from collections.abc import Callable, Iterator
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agent.app.configuration import Secrets, Source, again, check, client_secret, find, parse, read, warnings
from agent.errors import Refused
from rules.actions import Share
from rules.config.config_error import RuleError
from rules.config.settings import AgentTable, CollectionTable, Configuration, DirectoryTable, GlobusTable
from rules.rate import Hours, Limit
from rules.rule import Rule, Target
from rules.scrub import Scrub

FOLDER = Path("/cfg")
GOOD = """
[agent]
state_dir = "state"
listen = ""
sweep_every = "30s"
canary_every = "0s"

[destinations.share]
transport = "directory"
path = "/mnt/share"
verify = "size"
checksum = "blake3"

[destinations.mirror]
path = "../mirror"

[[rules]]
name = "r"
watch = "in"
deliver = [{ to = "share" }]
"""


@pytest.fixture(autouse=True, scope="module")
def bare() -> Iterator[None]:
    """No variable of the agent's is set."""
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ:
            if name.upper().startswith("DROPLINE_"):
                patch.delenv(name)
        yield


def checked(text: str, folder: Path = FOLDER) -> Configuration:
    """The configuration of a file f.toml in that folder."""
    return check(tomllib.loads(text), "f.toml", folder)


def config_error_in(text: str) -> str:
    """The one line that the error in the text gives."""
    with pytest.raises(RuleError) as caught:
        checked(text)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def parted(state: str = "/state", share: str = "/share", watch: str = "/data") -> str:
    """A configuration with these directories."""
    return f"""
    agent.state_dir = "{state}"
    destinations.share.path = "{share}"
    [[rules]]
    name = "r"
    watch = "{watch}"
    deliver = [{{ to = "share" }}]
    """


def test_what_is_written_is_what_counts() -> None:
    """Each key arrives, and relative paths count from the file's folder."""
    config = checked(GOOD)
    assert config.settings.agent == AgentTable(state_dir="/cfg/state", listen="", sweep_every="30s", canary_every="0s")
    assert config.settings.destinations == {
        "share": DirectoryTable(path="/mnt/share", verify="size", checksum="blake3"),
        "mirror": DirectoryTable(transport="directory", path="/mirror", verify="checksum", checksum="sha256"),
    }
    assert config.rules == (Rule("r", "/cfg/in", deliver=(Target("share", "{relpath}"),)),)
    assert (config.source, config.state_dir) == ("f.toml", Path("/cfg/state"))
    assert config.ledger == Path("/cfg/state/ledger.sqlite")


def test_an_empty_file_is_a_configuration() -> None:
    """Nothing is required, and the defaults are on the safe side: loopback, and state apart from any data."""
    config = checked("")
    assert (config.settings.agent.listen, config.settings.agent.sweep_every) == ("127.0.0.1:9469", 300.0)
    assert (config.settings.destinations, config.rules) == ({}, ())
    assert config.state_dir.is_absolute()


def test_the_home_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A path that begins with ~ is in the user's home."""
    monkeypatch.setenv("HOME", "/home/of/somebody")
    config = checked(parted("~/state", "~/share", "~/data"))
    assert config.settings.agent.state_dir == "/home/of/somebody/state"
    assert config.settings.destinations["share"].path == "/home/of/somebody/share"
    assert config.rules[0].watch == "/home/of/somebody/data"


def homeless(patch: pytest.MonkeyPatch) -> None:
    """From now on the user has no home directory, as some service users."""

    def nobody(uid: int) -> None:
        raise KeyError(uid)

    patch.delenv("HOME", raising=False)
    patch.delenv("XDG_STATE_HOME", raising=False)
    patch.setattr("pwd.getpwuid", nobody)


@pytest.mark.parametrize("path", ["~/x", "~nobody.of.this.name/x"])
def test_no_such_home(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path in a home that does not exist is an error, not a folder called "~"."""
    homeless(monkeypatch)
    places = {
        "[agent]: state_dir": parted(state=path),
        "[destinations.share]: path": parted(share=path),
        "[[rules]] 'r': watch": parted(watch=path),
    }
    for place, text in places.items():
        assert config_error_in(text) == (
            f"f.toml: {place}: there is no such home directory; write the path in full, or begin with ./~ (got {path!r})"
        )
    assert checked(parted(watch="./~/x")).rules[0].watch == "/cfg/~/x"


def test_a_user_without_a_home_says_where_the_state_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no folder for state by default, the configuration must name one."""
    homeless(monkeypatch)
    assert config_error_in("").startswith("f.toml: [agent]: state_dir: missing, and has no default here: ")
    assert checked('agent.state_dir = "/state"').state_dir == Path("/state")


def test_beyond_loopback_there_is_a_token() -> None:
    """With a token file every address may be listened on; its path counts from the file's folder, as all do."""
    for listen in ("0.0.0.0:9469", "[::]:0", "192.0.2.5:9469", "127.0.0.1:9469", ""):
        table = checked(
            f'agent = {{ listen = "{listen}", token_file = "page.token", hosts = ["page.lab."] }}'
        ).settings.agent
        assert (table.listen, table.token_file, table.hosts) == (listen, "/cfg/page.token", ("page.lab",))
    for listen in ("localhost:0", "127.8.9.1:0", "[::1]:0"):
        assert checked(f'agent.listen = "{listen}"').settings.agent.token_file is None


def test_another_state_dir_for_this_run() -> None:
    """What the command line changes in [agent] leaves the rest as it is."""
    config, other = checked(GOOD), checked(GOOD).with_agent(listen="127.0.0.1:0")
    assert other.settings.agent == config.settings.agent.model_copy(update={"listen": "127.0.0.1:0"})
    assert (other.rules, other.source, other.settings.destinations) == (
        config.rules, config.source, config.settings.destinations,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[agnt]", "agnt: unknown key; did you mean 'agent'?"),
        ("[[rule]]", "rule: unknown key; did you mean 'rules'?"),
        ("zzz = 1", "zzz: unknown key; known are agent, destinations, globus, notify, rules"),
        ('_env_file = "x"', "_env_file: unknown key; known are agent, destinations, globus, notify, rules"),
        ("__pydantic_self__ = 1", "__pydantic_self__: unknown key; known are agent, destinations, globus, notify, rules"),
        ("function-x = 1", "function-x: unknown key; known are agent, destinations, globus, notify, rules"),
        ('"a\\nb" = 1', "a\\nb: unknown key; known are agent, destinations, globus, notify, rules"),
        ("agent.statedir = 'x'", "[agent]: statedir: unknown key; did you mean 'state_dir'?"),
        ("destinations.share = { path = 'x', pth = 'y' }", "[destinations.share]: pth: unknown key; did you mean 'path'?"),
        ("destinations.path = { path = 'x', pth = 'y' }", "[destinations.path]: pth: unknown key; did you mean 'path'?"),
        (
            "destinations.rules = { path = 'x', chcksum = 'y' }",
            "[destinations.rules]: chcksum: unknown key; did you mean 'checksum'?",
        ),
        (
            "[[rules]]\nname = 'r'\nwatch = 'x'\ncomplete.qiet = '1s'\ndeliver = [{ to = 'x' }]",
            "[[rules]] 'r': complete.qiet: unknown key; did you mean 'quiet'?",
        ),
        (
            "[[rules]]\nname = 'r'\nwatch = 'x'\ndeliver = [{ to = 'x', paht = 'y' }]",
            "[[rules]] 'r': deliver.0.paht: unknown key; did you mean 'path'?",
        ),
    ],
)  # fmt: skip
def test_unknown_keys(text: str, message: str) -> None:
    """An unknown key in any table is named, with the nearest known one."""
    assert config_error_in(text) == f"f.toml: {message}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("agent = 5", "agent: write a table, { ... } (got 5)"),
        ("agent = []", "agent: write a table, { ... }"),
        ("agent.listen = 9469", "[agent]: listen: write text in quotes (got 9469)"),
        (
            "agent.sweep_every = 300",
            "[agent]: sweep_every: write it as text with its unit, for example '30s' (got 300)",
        ),
        ('agent.sweep_every = "0s"', "[agent]: sweep_every: Input should be greater than 0 (got '0s')"),
        *(
            (
                f'agent.listen = "{listen}"',
                f"[agent]: listen: '{listen}' is not an address and a port; write \"127.0.0.1:9469\", port 0 for any"
                ' free one, or "" for no page',
            )
            for listen in (
                "example.org:9469",
                "::1:9469",
                "[127.0.0.1]:9469",
                "127.0.0.1",
                "localhost:",
                "localhost:http",
                "[::1]:65536",
                "127.0.0.1:\u00b2",
            )
        ),
        *(
            (
                f'agent.listen = "{listen}"',
                f"[agent]: listen: '{listen}' is beyond loopback: everybody in the network could ask for the page, so it"
                ' wants a token; name a file with one in token_file ((umask 077; python3 -c "import secrets;'
                ' print(secrets.token_urlsafe())" > FILE)), or listen on 127.0.0.1',
            )
            for listen in ("0.0.0.0:9469", "[::]:9469", "192.0.2.5:0", "[::ffff:127.0.0.1]:0")
        ),
        *(
            (
                f'agent.hosts = ["{host}"]',
                "[agent]: hosts.0: write host names as in an address, without http:// and without the port"
                f" (got '{host}')",
            )
            for host in ("http://page", "page:9469", "", "*", "::1", "a..b", "a" * 64)
        ),
        ('agent.state_dir = ""', "[agent]: state_dir: is not a path (got '')"),
        ('agent.state_dir = "a\\u0000b"', "[agent]: state_dir: is not a path (got 'a\\x00b')"),
        ('agent.state_dir = "~\\u0000"', "[agent]: state_dir: is not a path (got '~\\x00')"),
        ("destinations = 5", "destinations: write a table, { ... } (got 5)"),
        ("destinations.share = '/mnt'", "[destinations]: share: write a table, { ... } (got '/mnt')"),
        ("[destinations.share]", "[destinations.share]: path: missing; this key is required"),
        ("destinations.share.path = ''", "[destinations.share]: path: is not a path (got '')"),
        (
            "destinations.share = { path = 'x', transport = 'carrier pigeon' }",
            '[destinations.share]: transport: is "directory" or "globus", not \'carrier pigeon\'',
        ),
        (
            "destinations.share = { path = 'x', checksum = 'crc32' }",
            "[destinations.share]: checksum: Input should be 'sha256', 'blake3' or 'md5' (got 'crc32')",
        ),
        (
            "destinations.'a b'.path = 'x'",
            "[destinations]: a b: String should match pattern '^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$' (got 'a b')",
        ),
    ],
)
def test_wrong_types(text: str, message: str) -> None:
    """A value of the wrong type is named with its table and key, and with what was written."""
    assert config_error_in(text) == f"f.toml: {message}"


ID = "313ce13e-b597-5858-ae13-29e46fea26e6"


def campus(**keys: Any) -> dict[str, Any]:
    """A configuration that delivers to a collection."""
    rule = {"name": "r", "watch": "/data/tomo", "deliver": [{"to": "campus"}]}
    table = {"transport": "globus", "collection": ID.upper()} | keys
    return {"destinations": {"campus": table}, "rules": [rule]}


def test_a_collection_is_a_destination() -> None:
    """Ids are compared in small letters, paths without what does not count in them."""
    config = check(campus(path="//ingest/./b7/", source_root="/data", deadline="3d"), "f.toml", FOLDER)
    table = config.settings.destinations["campus"]
    assert table == CollectionTable(
        transport="globus", collection=ID, path="/ingest/b7", source_root="/data", deadline="3d"
    )
    assert table.address == f"{ID}:/ingest/b7"


def test_a_bandwidth_is_one_limit_or_limits_by_the_hour() -> None:
    """A size alone counts always; in a list, the last one may."""
    share = '[destinations.share]\npath = "/share"\nbandwidth = '
    limits = {
        text: checked(share + text).settings.destinations["share"].limits(UTC)  # type: ignore[union-attr]
        for text in ('"50MB"', '[{ hours = "22:00-06:00", limit = "1GB" }, { limit = "20MB" }]', "[]")
    }
    assert list(limits.values()) == [
        [Limit(50_000_000, None, UTC)],
        [Limit(10**9, Hours(22 * 60, 6 * 60), UTC), Limit(20_000_000, None, UTC)],
        [],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("bandwidth", "message"),
    [
        ('"0B"', "bandwidth.0.limit: nothing would ever go; `dropline pause delivery` stops it for a while (got '0B')"),
        ('"fast"', "bandwidth.0.limit: 'fast' is not a size; write for example \"500kB\", \"50GB\" or \"4GiB\""),
        ('[{ hours = 8, limit = "1MB" }]', "bandwidth.0.hours: '8' are not hours; write for example \"08:00-18:00\""),
        (
            '[{ limit = "1MB" }, { hours = "08:00-09:00", limit = "2MB" }]',
            "bandwidth: a limit without `hours` counts always, and so must be the last",
        ),
    ],
)  # fmt: skip
def test_mistakes_about_a_bandwidth(bandwidth: str, message: str) -> None:
    """Each names the entry and says what to write."""
    text = f'[destinations.share]\npath = "/share"\nbandwidth = {bandwidth}'
    assert config_error_in(text) == f"f.toml: [destinations.share]: {message}"


@pytest.mark.parametrize("value", ['"rwx"', '"0650"', '"07550"', "750", "0o750", '"2770"', '""', '"0o750"'])
def test_permissions_are_written_as_in_chmod(value: str) -> None:
    """Three digits; the owner must be able to write there."""
    text = f'[destinations.share]\npath = "/share"\ndir_mode = {value}'
    assert 'write the permissions as in "0750"; the first of the three digits is 7' in config_error_in(text)
    share = checked('[destinations.share]\npath = "/share"\ndir_mode = "0770"').settings.destinations["share"]
    assert (share.dir_mode, type(share)) == (0o770, DirectoryTable)  # type: ignore[union-attr]


@pytest.mark.parametrize("value", ['"rw"', '"0440"', '"4640"', "640", '""'])
def test_permissions_of_files_let_their_owner_write(value: str) -> None:
    """Three digits, without setuid: a copy may have to be replaced."""
    text = f'[destinations.share]\npath = "/share"\nmode = {value}'
    assert 'write the permissions as in "0640"; the first of the three digits is 6 or 7' in config_error_in(text)
    share = checked('[destinations.share]\npath = "/share"\nmode = "0640"\ngroup = "staff"').settings.destinations[
        "share"
    ]
    assert isinstance(share, DirectoryTable)
    assert (share.mode, share.group) == (0o640, "staff")


def test_globus_cannot_be_slowed() -> None:
    """The key is refused there, with what can be done instead."""
    with pytest.raises(RuleError, match=r"Globus has no limit for a transfer: .* network use, or .* `batch.schedule`"):
        check(campus(bandwidth="50MB"), "f.toml", FOLDER)


def test_copies_are_read_again_only_where_it_is_written() -> None:
    """Off by default; a rate alone, or a table; each mistake names its key."""
    text = "destinations.{} = {{ path = '/mnt/{}', scrub = {} }}"
    config = checked(
        "\n".join(
            [
                text.format("a", "a", "'50GB'"),
                text.format("b", "b", "{ per_day = 1000, every = '1w' }"),
                "destinations.c = { path = '/mnt/c' }",
            ]
        )
    )
    policies = {name: table.scrub and table.scrub.policy for name, table in config.settings.destinations.items()}
    assert policies == {"a": Scrub(50 * 10**9, 30 * 86400.0), "b": Scrub(1000, 7 * 86400.0), "c": None}
    for value, message in {
        "'50'": 'scrub.per_day: \'50\' is not a size; write for example "500kB", "50GB" or "4GiB"',
        "0": "scrub.per_day: Input should be greater than 0",
        "{ every = '1d' }": "scrub.per_day: missing; this key is required",
        "{ per_day = '1GB', evry = '1d' }": "scrub.evry: unknown key; did you mean 'every'?",
        "{ per_day = '1GB', every = '0s' }": "scrub.every: Input should be greater than 0 (got '0s')",
        "true": "scrub: write a table, { ... } (got True)",
    }.items():
        assert config_error_in(text.format("a", "a", value)) == f"f.toml: [destinations.a]: {message}"


def test_sharing_wants_a_globus_destination_whose_folder_is_written_in_full() -> None:
    """One that is Globus is enough; without any, or with a home for a folder, it is an error."""
    shared = campus(path="/ingest")
    shared["rules"][0]["share_with"] = ["ada@example.org"]
    shared["destinations"]["share"] = {"path": "/mnt/share"}
    shared["rules"][0]["deliver"].append({"to": "share"})
    assert check(shared, "f.toml", FOLDER).rules[0].share_with == (Share("identity", "ada@example.org"),)
    shared["destinations"]["campus"]["path"] = "/~/ingest"
    with pytest.raises(
        RuleError, match=r"\[destinations.campus\]: path: rule 'r' shares .* must be written without '~'"
    ):
        check(shared, "f.toml", FOLDER)
    shared["rules"][0]["deliver"] = [{"to": "share"}]
    with pytest.raises(RuleError, match=r"\[\[rules\]\] 'r': share_with: none of the rule's destinations is Globus"):
        check(shared, "f.toml", FOLDER)


def test_links_are_copied_to_directories_alone() -> None:
    """Globus makes none: the rule says so before anything travels."""
    found = campus()
    found["rules"][0]["links"] = "copy"
    with pytest.raises(RuleError, match=r"\[\[rules\]\] 'r': links: Globus makes no links at 'campus'; write 'skip'"):
        check(found, "f.toml", FOLDER)
    found["destinations"]["share"] = {"path": "/mnt/share"}
    found["rules"][0]["deliver"] = [{"to": "share"}]
    assert check(found, "f.toml", FOLDER).rules[0].links == "copy"


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"collection": "campus"}, "collection: String should match pattern"),
        ({"path": "ingest"}, "path: write the path as the collection shows it"),
        ({"path": "/a/../b"}, "path: write the path as the collection shows it"),
        ({"outstanding": 0}, "outstanding: Input should be greater than or equal to 1 (got 0)"),
        ({"notify": ["started"]}, "notify.0: Input should be 'succeeded', 'failed' or 'inactive' (got 'started')"),
        ({"verify": "size"}, "verify: unknown key; did you mean 'verify_checksum'?"),
        ({"source_root": "/elsewhere"}, "source_root: rule 'r' watches /data/tomo, which is not below /elsewhere"),
        ({"deadline": "0s"}, "deadline: Input should be greater than 0 (got '0s')"),
    ],
)
def test_mistakes_about_a_collection(keys: dict[str, Any], message: str) -> None:
    """Each is one line that names the table and the key of the transport that was chosen."""
    with pytest.raises(RuleError, match=f"^{re.escape(f'f.toml: [destinations.campus]: {message}')}"):
        check(campus(**keys), "f.toml", FOLDER)


def test_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither printing the settings nor an error tells a secret; it comes from the file, the environment or a file."""
    config = check({"globus": {"client_id": ID, "client_secret": "hush"}}, "f.toml", FOLDER)
    assert "hush" not in repr(config.settings)
    assert client_secret(config.settings.globus) == "hush"
    with pytest.raises(RuleError) as config_error:
        check({"globus": {"client_secret": 4711}}, "f.toml", FOLDER)
    assert "4711" not in str(config_error.value)
    monkeypatch.setenv("DROPLINE_GLOBUS__CLIENT_SECRET", "shh")
    assert client_secret(check({}, "f.toml", FOLDER).settings.globus) == "shh"
    monkeypatch.delenv("DROPLINE_GLOBUS__CLIENT_SECRET")
    with pytest.raises(RuleError, match="client_secret is there, too"):
        check({"globus": {"client_secret": "a", "client_secret_file": "b"}}, "f.toml", FOLDER)
    for content, reason in ((None, "No such file"), (b"", "is empty"), (b"\xff", "is not text")):
        path = tmp_path / f"secret{reason[:2]}"
        if content is not None:
            path.write_bytes(content)
            path.chmod(0o600)
        with pytest.raises(Refused, match=reason):
            client_secret(GlobusTable(client_secret_file=str(path)))


@pytest.mark.parametrize(("share", "watch"), [("/data", "/data"), ("/data", "/data/in"), ("/", "/data")])
def test_a_destination_is_apart_from_what_is_watched(share: str, watch: str) -> None:
    """A destination is not a watched directory, nor around one: files would be copies of themselves."""
    here = os.path.normpath(FOLDER / share)
    wanted = f"path: {here} is the watched directory {watch}, or contains it; keep them apart"
    assert config_error_in(parted(share=share, watch=watch)) == f"f.toml: [destinations.share]: {wanted}"


def test_a_link_does_not_hide_that_directories_overlap(tmp_path: Path) -> None:
    """Directories are compared as they are on the disk, whatever names lead to them."""
    (tmp_path / "data").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "data")
    with pytest.raises(RuleError, match="is the watched directory"):
        checked(parted(share="data", watch="link"), tmp_path)
    with pytest.raises(RuleError, match="is inside the watched directory"):
        checked(parted(state="link/state", watch="data"), tmp_path)


def test_two_destinations_are_two_places(tmp_path: Path) -> None:
    """Two names for one directory would make one copy count as two."""
    (tmp_path / "link").symlink_to("/mnt/share")
    for path in ("/mnt/share", "/mnt/./share/", f"{tmp_path}/link"):
        text = f'destinations.share.path = "/mnt/share"\ndestinations.mirror.path = "{path}"'
        assert config_error_in(text) == (
            "f.toml: [destinations.mirror]: path: destination 'share' is the same directory; one copy would count as two"
        )


def test_two_destinations_of_one_collection_are_two_paths() -> None:
    """One path of a collection under two names, and nested ones that one rule delivers to, would let one copy count as two."""
    one, other = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"

    def text(collection: str, path: str, *rules: str) -> str:
        return "".join(
            f'destinations.{name} = {{ transport = "globus", collection = "{there}", path = "{where}" }}\n'
            for name, there, where in (("campus", one, "/in"), ("tape", collection, path))
        ) + "".join(
            f'[[rules]]\nname = "{number}"\nwatch = "/data/{number}"\ndeliver = [{to}]\n'
            for number, to in enumerate(rules)
        )

    both, apart = '{ to = "campus" }, { to = "tape" }', ('{ to = "campus" }', '{ to = "tape" }')
    assert config_error_in(text(one, "/in/")) == (
        "f.toml: [destinations.tape]: path: destination 'campus' is the same path of the same collection; one copy would count"
        " as two"
    )
    assert config_error_in(text(one, "/in/raw", both)) == (
        "f.toml: [destinations.tape]: path: it lies in 'campus' (/in), and a rule delivers to both: one copy could count as two"
    )
    checked(text(one, "/in/raw", *apart))
    checked(text(one, "/input", both))
    checked(text(other, "/in", both))


def test_one_rule_needs_destinations_that_are_apart(tmp_path: Path) -> None:
    """A destination in another is refused where one rule delivers to both, also by a link: one copy could count as two."""
    (tmp_path / "share/sub").mkdir(parents=True)
    (tmp_path / "link").symlink_to("share/sub")
    for path in ("share/sub", "link"):
        places = f'destinations.share.path = "share"\ndestinations.mirror.path = "{path}"\n'
        rule = '[[rules]]\nname = "%s"\nwatch = "data"\ndeliver = [%s]\n'
        both = rule % ("r", '{ to = "share" }, { to = "mirror" }')
        with pytest.raises(RuleError, match=r"it lies in 'share' .* one copy could count as two"):
            checked(places + both, tmp_path)
        each = rule % ("r", '{ to = "share" }') + rule % ("s", '{ to = "mirror" }')
        assert len(checked(places + each, tmp_path).rules) == 2


def test_one_tree_has_one_reclaim_by_whatever_name(tmp_path: Path) -> None:
    """Two rules on one directory, of which one goes by a link, may not reclaim differently."""
    (tmp_path / "data/sub").mkdir(parents=True)
    (tmp_path / "link").symlink_to("data")
    text = (
        'destinations.share.path = "share"\n[[rules]]\nname = "a"\nwatch = "data"\ndeliver = [{ to = "share" }]\n'
        '[[rules]]\nname = "b"\nwatch = "%s"\ndeliver = [{ to = "share" }]\nreclaim = { after = "7d" }\n'
    )
    for watch in ("link", "link/sub"):
        with pytest.raises(RuleError, match="overlaps that of rule 'a'"):
            checked(text % watch, tmp_path)


@pytest.mark.parametrize(
    ("share", "watch"),
    [
        ("/data2", "/data"),
        ("/data/out", "/data/in"),
        ("/data/a.old", "/data/a"),
        ("/data/archive", "/data"),
    ],
)
def test_directories_that_may_be_configured(share: str, watch: str) -> None:
    """Beside one another, though one's name begins like the other's; or the destination in the watched directory, left out."""
    assert checked(parted(share=share, watch=watch)).rules[0].watch == watch


def test_the_state_is_apart_from_what_is_watched() -> None:
    """The ledger is not in a watched directory, unless under a name of the agent's own, which no rule claims."""
    assert config_error_in(parted(state="/data/state")) == (
        "f.toml: [agent]: state_dir: /data/state is inside the watched directory /data; keep it elsewhere"
    )
    assert checked(parted(state="/data/.dropline/state")).state_dir == Path("/data/.dropline/state")
    assert checked(parted(state="/data2")).state_dir == Path("/data2")


def test_overlapping_rules_that_reclaim_differently() -> None:
    """Rules are compared by where they watch after relative paths are made absolute."""
    second = '\n[[rules]]\nname = "s"\nwatch = "in/../in/sub"\ndeliver = [{ to = "share" }]\nreclaim = { after = "0s" }'
    assert config_error_in(GOOD + second) == (
        "f.toml: [[rules]] 's': reclaim: its directory /cfg/in/sub overlaps that of rule 'r' (/cfg/in), but they reclaim"
        " differently; give both the same reclaim, or watch separate directories"
    )


# The environment


def test_the_environment_comes_before_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable overrides its key alone; the rest of the table stays as the file has it."""
    monkeypatch.setenv("DROPLINE_AGENT__STATE_DIR", "/elsewhere")
    monkeypatch.setenv("DROPLINE_AGENT__SWEEP_EVERY", "7s")
    monkeypatch.setenv("DROPLINE_DESTINATIONS__SHARE__PATH", "/other/share")
    config = checked(GOOD)
    assert config.settings.agent == AgentTable(state_dir="/elsewhere", listen="", sweep_every="7s", canary_every="0s")
    assert config.settings.destinations["share"] == DirectoryTable(
        path="/other/share", verify="size", checksum="blake3"
    )
    assert config.rules == checked(GOOD).rules


def test_the_environment_may_replace_the_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rules are overridden as a whole, by JSON."""
    monkeypatch.setenv("DROPLINE_RULES", '[{"name": "e", "watch": "/env", "deliver": [{"to": "mirror"}]}]')
    assert checked(GOOD).rules == (Rule("e", "/env", deliver=(Target("mirror", "{relpath}"),)),)


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        (
            "DROPLINE_AGENT__SWEEP_EVERY", "banana",
            "environment variable DROPLINE_AGENT__SWEEP_EVERY: [agent]: sweep_every: 'banana' is not a duration;"
            ' write for example "500ms", "30s", "5m", "12h" or "7d"',
        ),
        (
            "DROPLINE_AGENT__STATEDIR", "x",
            "environment variable DROPLINE_AGENT__STATEDIR: [agent]: statedir: unknown key; did you mean 'state_dir'?",
        ),
        (
            "dropline_agent__state_dir", "",
            "environment variable dropline_agent__state_dir: [agent]: state_dir: is not a path (got '')",
        ),
        (
            "DROPLINE_DESTINATIONS__SHARE__VERIFY", "never",
            "environment variable DROPLINE_DESTINATIONS__SHARE__VERIFY: [destinations.share]: verify:"
            " Input should be 'checksum' or 'size' (got 'never')",
        ),
        (
            "DROPLINE_RULES", '[{"name": "x", "watch": "/x", "deliver": [{"to": "share"}]}, {"name": 5}]',
            "environment variable DROPLINE_RULES: [[rules]] number 2: name: write text in quotes (got 5)",
        ),
        (
            "DROPLINE_RULES", "5",
            "environment variable DROPLINE_RULES: rules: write a list, [ ... ], or for tables [[ ... ]] (got 5)",
        ),
        (
            "DROPLINE_AGENT", "not JSON",
            'the environment: error parsing value for field "agent" from source "EnvSettingsSource": it is not JSON;'
            " override single keys instead",
        ),
        (
            "DROPLINE_RULES__0__WATCH", "/x",
            "f.toml: rules: write a list, [ ... ], or for tables [[ ... ]]",
        ),
    ],
)  # fmt: skip
def test_a_mistake_in_the_environment(variable: str, value: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bad value in the environment is one line, too, and names the variable rather than the file."""
    monkeypatch.setenv(variable, value)
    assert config_error_in(GOOD) == message


# The file


def test_reading_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is read from wherever one stands; paths in it count from its folder."""
    (tmp_path / "f.toml").write_text(GOOD, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    for path in (Path("f.toml"), tmp_path / "f.toml"):
        config = read(path)
        assert (config.source, config.state_dir) == (str(path), tmp_path / "state")


def test_a_byte_order_mark(tmp_path: Path) -> None:
    """The mark that some editors put before the text does not matter."""
    (tmp_path / "f.toml").write_text(GOOD, encoding="utf-8-sig")
    assert read(tmp_path / "f.toml").rules[0].name == "r"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[agent]\nlisten = \n", ":2: is not TOML: Invalid value (at line 2, column 10)\n    listen ="),
        (b"[agent]\n[agent]\n", ":2: is not TOML: Cannot declare ('agent',) twice (at line 2, column 7)\n    [agent]"),
        (b"a = 1\na = 2\n", ":2: is not TOML: Cannot overwrite a value (at line 2, column 6)\n    a = 2"),
        (b"a = '\xff'", ": is not TOML: 'utf-8' codec can't decode byte 0xff in position 5: invalid start byte"),
        (
            b"a = " + b"9" * 5000,
            ": is not TOML: Exceeds the limit (4300 digits) for integer string conversion: value has 5000 digits;"
            " use sys.set_int_max_str_digits() to increase the limit",
        ),
    ],
)
def test_what_is_not_toml(content: bytes, message: str, tmp_path: Path) -> None:
    """A file that is not TOML gives one line that names it and the line in it, and that line."""
    path = tmp_path / "f.toml"
    path.write_bytes(content)
    with pytest.raises(RuleError) as caught:
        read(path)
    assert str(caught.value) == f"{path}{message}"


def test_every_error_is_reported_at_once_with_its_line(tmp_path: Path) -> None:
    """File, line number, table, key, what is wrong, what was meant, and the line itself: of keys, values and tables together."""
    path = tmp_path / "f.toml"
    path.write_text(
        """[agent]
lisen = ""
sweep_every = 5

[destinations.share]
path = "/mnt/share"
verify = "checksm"
transport = "directry"

[[rules]]
name = "r"
watch = "/data"
deliver = [
  { to = "shar" },
]
[[rules]]
name = "s"
watch = "/data2"
batch = { by = "dirs" }
deliver = [{ to = "share", path = "{relpth}" }]
"""
    )
    with pytest.raises(RuleError) as caught:
        read(path)
    assert str(caught.value).replace(str(path), "f.toml").splitlines() == [
        "f.toml:2: [agent]: lisen: unknown key; did you mean 'listen'?",
        '    lisen = ""',
        "f.toml:3: [agent]: sweep_every: write it as text with its unit, for example '30s' (got 5)",
        "    sweep_every = 5",
        "f.toml:8: [destinations.share]: transport: is \"directory\" or \"globus\", not 'directry'; did you mean 'directory'?",
        '    transport = "directry"',
        "f.toml:14: [[rules]] 'r': deliver.0.to: there is no [destinations.shar]; did you mean 'share'?",
        '    { to = "shar" },',
        "f.toml:19: [[rules]] 's': batch.by: 'dirs' is none of 'dir', 'dataset', 'capture' or a template such as '{run}';"
        " did you mean 'dir'?",
        '    batch = { by = "dirs" }',
        "f.toml:20: [[rules]] 's': deliver.0.path: template '{relpth}': unknown field {relpth} (did you mean 'relpath'?); known are"
        " dir, host, inside, name, relpath, rest, rule, stem, suffix, mtime",
        '    deliver = [{ to = "share", path = "{relpth}" }]',
    ]
    assert caught.value.short == (
        f"{path}:2: [agent]: lisen: unknown key; did you mean 'listen'? (and 5 more: `dropline check` lists them)"
    )
    path.write_text(
        '[destinations.share]\npath = "/mnt/share"\nverify = "checksm"\n[[rules]]\nname = "r"\nwatch = "/d"\n'
        'deliver = [\n  { to = "shar" },\n]\n'
    )
    with pytest.raises(RuleError, match=r"f\.toml:3: .*; did you mean 'checksum'\?"):
        read(path)


@pytest.mark.parametrize(
    "text",
    [
        'globus = { client_secrets = "hunter2" }', '[globus]\nclient_secret = ["hunter2"]', '[globus]\nx = "hunter2"',
        '[notify.webhook]\nurll = "https://example.org/hunter2"', '[globus]\nclient_secret = "hunter2',
        '[[rules]]\nname = "r"\nwatch = "/d"\ndeliver = []\nthen = [{ command = ["x", "-phunter2"], timeot = "1s" }]',
        '[[rules]]\nname = "r"\nthen = [{ command = [\n  "-phunter2" 5\n] }]', '[notify.email]\nx = """\nhunter2\n""" 5',
    ],
)  # fmt: skip
def test_a_line_that_may_have_a_secret_is_not_shown(tmp_path: Path, text: str) -> None:
    """Its number is, and what is wrong with it: errors go to logs and pages."""
    path = tmp_path / "f.toml"
    path.write_text(text + "\n")
    with pytest.raises(RuleError) as caught:
        read(path)
    assert re.match(rf"{re.escape(str(path))}:\d+: ", str(caught.value))
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ('watch = "C:\\data"', "is not TOML: Unescaped '\\' in a string (at line 3, column 14)"),
        ('watch = "C:\\temp"', "has a tab or another control character"),
        ('watch = "C:\\Users"', "is not TOML: Invalid hex value (at line 3, column 14)"),
        ('include = ["\\d+.h5"]', "is not TOML: Unescaped '\\' in a string (at line 3, column 15)"),
        ('capture = "\\b(?P<run>x)"', "has a backspace or another control character"),
    ],
)
def test_a_backslash_in_double_quotes_has_a_hint(tmp_path: Path, value: str, problem: str) -> None:
    """Paths of Windows and regular expressions belong in single quotes: an escape that TOML takes is found as well."""
    path = tmp_path / "f.toml"
    path.write_text(f'[[rules]]\nname = "r"\n{value}\n')
    with pytest.raises(RuleError) as caught:
        read(path)
    (found,) = [message for message in caught.value.messages if "single quotes" in message]
    assert found.startswith(f"{path}:3: ")
    assert problem in found
    assert found.endswith(f"\n    {value}")


def test_nesting_without_end(tmp_path: Path) -> None:
    """A file that is nested too deeply to be read is an error like any other."""
    (tmp_path / "f.toml").write_text("a = " + "[" * 100_000)
    with pytest.raises(RuleError, match=r"f\.toml: is not TOML: maximum recursion depth exceeded"):
        read(tmp_path / "f.toml")


def test_no_file(tmp_path: Path) -> None:
    """A file that is not there, or is none, is named with the cause and with what to do."""
    for path, cause in ((tmp_path / "none.toml", "No such file or directory"), (tmp_path, "Is a directory")):
        with pytest.raises(RuleError) as caught:
            read(path)
        assert str(caught.value) == f"{path}: cannot be read: {cause}; `dropline init` writes one"


def test_which_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file that is given counts, else the one in the current directory, else the user's, else the computer's."""
    here, user, computer = (tmp_path / name for name in ("here", "user", "computer"))
    for folder in (here, user / "dropline", computer / "dropline"):
        folder.mkdir(parents=True)
    monkeypatch.chdir(here)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(user))
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(computer))
    for folder in (computer / "dropline", user / "dropline", here):
        (folder / "dropline.toml").touch()
        assert path_of(find(None)) == folder / "dropline.toml"
    (here / "given.toml").touch()
    assert path_of(find(Path("given.toml"))) == Path("given.toml")


def path_of(source: Source | None) -> Path:
    """Where a configuration was found."""
    assert source is not None
    return Path(source.path)


def test_a_file_that_anybody_may_write(tmp_path: Path) -> None:
    """The file decides what is deleted and what is run, so one that anybody may write is not taken."""
    path = tmp_path / "f.toml"
    path.touch()
    path.chmod(0o664)
    assert read(path).rules == ()
    assert warnings(path) == []
    path.chmod(0o602)
    with pytest.raises(RuleError, match=f"may be written by anybody: chmod o-w {path}"):
        read(path)
    assert warnings(tmp_path / "none") == []


@pytest.mark.parametrize(("mode", "good"), [(0o600, True), (0o640, True), (0o644, False), (0o660, False)])
def test_a_file_with_a_secret_in_it_is_private(tmp_path: Path, mode: int, good: bool) -> None:
    """As files that hold nothing but a secret are."""
    path = tmp_path / "f.toml"
    path.write_text(f'globus = {{ client_id = "{ID}", client_secret = "hush" }}')
    path.chmod(mode)
    if good:
        assert client_secret(read(path).settings.globus) == "hush"
        return
    with pytest.raises(RuleError) as caught:
        read(path)
    assert str(caught.value) == (
        f"{path}: [globus]: client_secret: the file can be read by others: chmod 600 {path}, or keep the secret apart"
        " (client_secret_file)"
    )


def _written(*rules: str, more: str = "") -> str:
    return f'{more}\ndestinations.s.path = "/s"\nrules = [{", ".join(rules)}]'


def _then(action: str) -> str:
    return f'{{ name = "r", watch = "/d", deliver = [{{ to = "s" }}], then = [{{ {action} }}] }}'


CHAT = 'notify.events = ["refused"]\nnotify.webhook.url'


@pytest.mark.parametrize(
    ("text", "where"),
    [
        (f'globus = {{ client_id = "{ID}", client_secret = "hush" }}', "[globus]: client_secret"),
        (_written(_then(""), more=f'{CHAT} = "https://chat.example.org/hooks/T0"'), "[notify.webhook]: url"),
        (_written(_then('webhook = "https://example.org/hook"')), "[[rules]] 'r': then.webhook"),
        (_written(_then('webhook = "https://example.org/?key=x"')), "[[rules]] 'r': then.webhook"),
        (_written(_then('webhook = "https://example.org/"')), None),
        (_written(_then('webhook = "https://example.org/hook", secret_file = "/etc/x"')), None),
        (_written(_then('command = ["/bin/true"]'), more=f'{CHAT}_file = "/etc/x"'), None),
    ],
)
def test_a_secret_of_any_kind_makes_the_file_private(tmp_path: Path, text: str, where: str | None) -> None:
    """Who knows the address of a chat, or the path of a webhook, may write there; a file of its own may hold it."""
    path = tmp_path / "f.toml"
    path.write_text(text.replace(", then = [{  }]", ""))
    path.chmod(0o644)
    if where is None:
        assert read(path)
        return
    with pytest.raises(RuleError) as caught:
        read(path)
    assert str(caught.value).startswith(
        f"{path}: {where}: the file can be read by others: chmod 600 {path}, or keep the"
    )
    path.chmod(0o640)
    assert read(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("what", ["file", "link"])
def test_what_another_user_put_where_it_is_found_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """In the current folder, and in those that are looked through next; what is named is read."""
    real = tmp_path / "real.toml"
    real.touch()
    for name in (".", "xdg/dropline"):
        folder = tmp_path / "work" / name
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "dropline.toml"
        path.symlink_to(real) if what == "link" else path.touch()
        os.chown(path, 12345, -1, follow_symlinks=False)
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "work/xdg"))
    for place in (tmp_path / "work", tmp_path / "work/xdg/dropline"):
        with pytest.raises(
            RuleError, match=rf"{place}/dropline.toml: it was found, and belongs to another user \(uid 12345\)"
        ):
            find(None)
        assert path_of(find(place / "dropline.toml")) == place / "dropline.toml"
        os.chown(place / "dropline.toml", 0, -1, follow_symlinks=False)
        assert path_of(find(None)) == place / "dropline.toml"
        (place / "dropline.toml").unlink()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize(
    ("owners", "good"),
    [((0, 0, 0), True), ((12345, 0, 0), False), ((0, 12345, 0), False), ((0, 0, 12345), False)],
    ids=["one's own", "first link", "second link", "file"],
)
def test_links_of_dotfiles_are_followed_where_all_are_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owners: tuple[int, ...], good: bool
) -> None:
    """A link of the person to a link of theirs to a file of theirs is read; whoever made any of the three decides."""
    (tmp_path / "dotfiles").mkdir()
    (tmp_path / "work").mkdir()
    chain = [tmp_path / "work/dropline.toml", tmp_path / "dotfiles/link.toml", tmp_path / "dotfiles/real.toml"]
    chain[0].symlink_to("../dotfiles/link.toml")
    chain[1].symlink_to("real.toml")
    chain[2].write_text('agent.state_dir = "/s"')
    for path, owner in zip(chain, owners, strict=True):
        os.chown(path, owner, -1, follow_symlinks=False)
    monkeypatch.chdir(tmp_path / "work")
    if not good:
        with pytest.raises(RuleError, match=r"it was found, and belongs to another user \(uid 12345\)"):
            find(None)
        return
    found = find(None)
    assert found is not None
    assert parse(found).settings.agent.state_dir == "/s"


def test_what_was_judged_is_what_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another file that takes the name after a file was found is not read."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "dropline.toml"
    path.write_text('agent.state_dir = "/first"')
    found = find(None)
    assert found is not None
    (tmp_path / "other").write_text('agent.state_dir = "/other"')
    os.replace(tmp_path / "other", path)
    assert parse(found).settings.agent.state_dir == "/first"


@pytest.mark.parametrize("what", ["FIFO", "directory", "dangling", "circle", "link to a FIFO"])
def test_what_is_found_and_is_no_file_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """A FIFO at the name is not waited for: the next folder is looked through."""
    (tmp_path / "xdg/dropline").mkdir(parents=True)
    (tmp_path / "work").mkdir()
    (tmp_path / "xdg/dropline/dropline.toml").touch()
    path = tmp_path / "work/dropline.toml"
    if what == "FIFO":
        os.mkfifo(path)
    elif what == "directory":
        path.mkdir()
    else:
        path.symlink_to({"dangling": "nothing", "circle": "dropline.toml"}.get(what, "fifo"))
        os.mkfifo(tmp_path / "work/fifo")
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    assert path_of(find(None)) == tmp_path / "xdg/dropline/dropline.toml"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_reload_judges_what_was_found_once_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of another user that took the name of one that was found is refused; where it was named, it is read."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "dropline.toml"
    path.write_text('agent.state_dir = "/s"')
    named, source = read(path), find(None)
    assert source is not None
    os.chown(path, 12345, -1)
    with pytest.raises(RuleError, match="belongs to another user"):
        again(parse(source))
    assert again(named).settings.agent.state_dir == "/s"
    path.unlink()
    for config in (named, parse(source), parse(source).with_agent(listen="")):
        with pytest.raises(RuleError):
            again(config)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_file_of_another_user_is_warned_of(tmp_path: Path) -> None:
    """Who owns it decides what is deleted."""
    path = tmp_path / "f.toml"
    path.touch()
    os.chown(path, 12345, -1)
    (warning,) = warnings(path)
    assert warning.startswith(f"{path} belongs to another user (uid 12345), who decides by it what is deleted")


def test_a_file_that_is_too_large_is_no_configuration(tmp_path: Path) -> None:
    """It is not read to its end: it may be a device."""
    path = tmp_path / "f.toml"
    for place in (path, Path("/dev/zero")):
        path.write_bytes(b"#" * (4 * 2**20 + 1))
        with pytest.raises(RuleError, match="is larger than 4 MiB, so it is no configuration"):
            read(place)


RULE = 'destinations.s.path = "/s"\nrules = [{ name = "r", watch = "/d", deliver = [{ to = "s" }], %s }]'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = " + "[" * 100_000, "is not TOML: "),
        ("x = " + "{a=" * 100_000, "is not TOML: "),
        ("agent." + "a." * 50_000 + "b = 1", "has a name of 64 parts or more"),
        ("[" + '"a".' * 50_000 + "b]", "has a name of 64 parts or more"),
        ("k" * 1_000_000 + " = 1", "unknown key"),
        (RULE % ('include = ["' + "a*" * 100_000 + '"]'), "is longer than 1000 characters"),
        (RULE % ('capture = "' + "(" * 5_000 + ")" * 5_000 + '"'), "the regular expression does not compile"),
        (RULE % ("complete.require = [" + "{ any = [" * 50 + "5" + "] }" * 50 + "]"), "complete.require"),
    ],
    ids=range(8),
)
def test_what_is_huge_or_deep_is_said_soon(tmp_path: Path, text: str, message: str) -> None:
    """In one line of a bearable length, within seconds."""
    path = tmp_path / "f.toml"
    path.write_text(text)
    began = time.process_time()
    with pytest.raises(RuleError) as caught:
        read(path)
    assert message in str(caught.value)
    assert len(str(caught.value)) < 5000
    assert time.process_time() - began < 5


# Whatever it says

KEYS = (
    *("agent", "destinations", "rules", "state_dir", "listen", "sweep_every", "share", "path", "verify", "transport"),
    *("name", "watch", "include", "exclude", "capture", "complete", "batch", "deliver", "reclaim", "quiet", "marker"),
    *("token_file", "hosts", "dataset", "require", "then", "command", "webhook", "secret_file", "preset", "globus"),
    *("by", "schedule", "max_files", "max_bytes", "linger", "to", "after", "function-x", "_env_file", "[key]", "0"),
)
WORDS = (
    *("", "r", "share", "/data", "../x", "~", "~nobody", "10s", "-1s", "5GB", "15%", "directory", "dir", "capture"),
    *(
        "*.h5",
        "!",
        "[z-a]",
        "[",
        "{name}",
        "{relpath}/..",
        "{mtime:%Y}",
        "{mtime:{x}}",
        "{",
        "(?P<run>x)",
        "(",
        "\0",
        "\n",
    ),
    *("0.0.0.0:0", "[::]:1", "xrmc", "https://u:p@h/"),
    *("9" * 400 + "s", "9" * 400 + "B", "0 0 31 2 *", "*/0 * * * *", "L * * * *", "* * * * *"),
)
words = st.sampled_from(WORDS)
scalars = st.one_of(
    words, words, st.text(max_size=12), st.booleans(), st.integers(), st.just(2**64), st.floats(),
    st.dates(), st.datetimes(), st.times(),
)  # fmt: skip
keys = st.sampled_from(KEYS) | st.text(max_size=5)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4), max_leaves=8
)
law = settings(max_examples=300, deadline=None)


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every (container, key or index) in it."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in inside:
        yield value, key
        yield from places(inner)


@st.composite
def altered(draw: st.DrawFn) -> dict[str, Any]:
    """A good configuration with one to three things put in, replaced or left out."""
    data: dict[str, Any] = tomllib.loads(
        GOOD
        + "include = ['*']\nexclude = ['x']\ncapture = '(?P<run>x)'\nreclaim = { after = '1s', when_free_below = '5%' }\n"
        + "complete = { quiet = '1s', marker = '*.x' }\nbatch = { by = '{run}', schedule = '* * * * *', linger = '1s' }\n"
    )
    for _ in range(draw(st.integers(1, 3))):
        container, key = draw(st.sampled_from(list(places(data))))
        what = draw(st.sampled_from(["replace", "remove", "add"]))
        if what == "replace":
            container[key] = draw(values)
        elif what == "remove":
            del container[key]
        elif isinstance(container, dict):
            container[draw(keys)] = draw(values)
        else:
            container.append(draw(values))
        if not data:
            break
    return data


def said(source: str, make: Callable[[], Configuration]) -> str:
    """The line that says why it is no configuration; a good one where it is one."""
    try:
        assert isinstance(make(), Configuration)
    except RuleError as error:
        return str(error)
    return f"{source}: good"


@pytest.mark.filterwarnings("ignore::FutureWarning")  # of regular expressions that will mean something else one day
@law
@given(altered() | st.dictionaries(keys, values, max_size=4))
@example({"function-x": 1})
@example({"_env_file": "x"})
@example({"destinations": {"path": {"path": "x", "y": 1}}})
@example({"agent": {"state_dir": "\0"}})
def test_whatever_the_tables_hold(data: dict[str, Any]) -> None:
    """Any tables are a configuration or give lines that say why not, and never another error."""
    for line in said("f.toml", lambda: check(data, "f.toml", FOLDER)).splitlines():
        assert line.startswith("f.toml: ")
        assert line.isprintable()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file to write configurations to."""
    return tmp_path_factory.mktemp("whatever") / "f.toml"


@st.composite
def garbled(draw: st.DrawFn) -> bytes:
    """A good file in which a piece is replaced."""
    content = GOOD.encode()
    start = draw(st.integers(0, len(content)))
    end = draw(st.integers(start, min(start + 20, len(content))))
    piece = draw(st.binary(max_size=6) | st.text("[]{}=\"'.,#\n 09az\\u", max_size=8).map(str.encode))
    return content[:start] + piece + content[end:]


@law
@given(content=garbled() | st.binary(max_size=40) | st.text(max_size=40).map(str.encode))
def test_whatever_the_file_holds(file: Path, content: bytes) -> None:
    """Any file is a configuration or gives lines that name the file, each with the line in it, and never another error."""
    file.write_bytes(content)
    for line in said(str(file), lambda: read(file)).splitlines():
        assert re.match(rf"{re.escape(str(file))}(:\d+)?: |    ", line)
        assert line.isprintable()


def test_a_reload_sees_changed_secrets(tmp_path: Path) -> None:
    """Those that are read when a configuration is made: the Globus secret and the page's token, though their paths are the same."""
    for name in ("globus", "token"):
        (tmp_path / name).write_text(f"{name}_of_16_characters_or_more")
        (tmp_path / name).chmod(0o600)
    config = check(
        {
            "agent": {"token_file": "token"},
            "globus": {"client_id": ID, "client_secret_file": "globus"},
        },
        "f.toml",
        tmp_path,
    )  # fmt: skip
    found = [Secrets.of(config)]
    for name in ("globus", "token"):
        (tmp_path / name).write_text(f"another_{name}_of_16_characters_or_more")
        found.append(Secrets.of(config))
    assert [tuple(one) for one in found] == [
        ("globus_of_16_characters_or_more", "token_of_16_characters_or_more"),
        ("another_globus_of_16_characters_or_more", "token_of_16_characters_or_more"),
        ("another_globus_of_16_characters_or_more", "another_token_of_16_characters_or_more"),
    ]
