"""The configuration: a TOML file, overridden by environment variables such as `DROPLINE_AGENT__STATE_DIR`.

Settings stop at `app`: the parts of the agent get values, not this.
"""

import os
import stat
import tomllib
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any, Literal

from platformdirs import site_config_dir, user_config_dir, user_state_dir
from pydantic import AfterValidator, BeforeValidator, Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from agent import presets
from agent.errors import cause
from rules.load import RuleError, RuleTable, build, first_mistake, nearest
from rules.match import relative
from rules.model import OWN_PREFIX, Rule
from rules.preset import with_preset
from rules.tables import Duration, LocalPath, Table

FILE_NAME = "dropline.toml"
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
"""Where the status page may listen: it asks nobody who they are."""


def _on_loopback(value: str) -> str:
    host, _, port = value.rpartition(":")
    if value and (host not in LOOPBACK or not port.isdecimal() or int(port) > 65535):
        raise ValueError(
            f'{value!r} is not an address on loopback; write "127.0.0.1:9469", port 0 for any free one, or "" for no page'
        )
    return value


class AgentTable(Table):
    """`[agent]`"""

    state_dir: LocalPath = Field(default_factory=lambda: user_state_dir("dropline"))
    listen: Annotated[str, AfterValidator(_on_loopback)] = "127.0.0.1:9469"
    sweep_every: Annotated[Duration, Field(gt=0)] = 300.0
    canary_every: Duration = 60.0


class DirectoryTable(Table):
    """`[destinations.NAME]` with `transport = "directory"`"""

    transport: Literal["directory"] = "directory"
    path: LocalPath
    verify: Literal["checksum", "size"] = "checksum"
    checksum: Literal["sha256", "blake3", "md5"] = "sha256"


def _filled_up(value: object) -> object:
    """A `[[rules]]` table with what its preset says. Raises ValueError where there is no such preset."""
    if isinstance(value, dict) and isinstance(value.get("preset"), str):
        return with_preset(value, presets.data(value["preset"]))
    return value


class Settings(BaseSettings):
    """The whole configuration file."""

    model_config = SettingsConfigDict(env_prefix="DROPLINE_", env_nested_delimiter="__", extra="forbid", frozen=True)

    agent: AgentTable = Field(default_factory=AgentTable)
    destinations: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")], DirectoryTable] = {}
    rules: tuple[Annotated[RuleTable, BeforeValidator(_filled_up)], ...] = ()

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource, dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:  # fmt: skip
        """The environment comes before the file."""
        return env_settings, init_settings


class Configuration:
    """Settings and rules that fit together."""

    def __init__(self, settings: Settings, rules: tuple[Rule, ...], source: str) -> None:
        self.settings = settings
        self.rules = rules
        self.source = source
        """The file it was read from, for messages."""

    def with_agent(self, **changes: object) -> "Configuration":
        """The same with other values in `[agent]`."""
        agent = self.settings.agent.model_copy(update=changes)
        return Configuration(self.settings.model_copy(update={"agent": agent}), self.rules, self.source)

    @property
    def state_dir(self) -> Path:
        """Where the ledger is."""
        return Path(self.settings.agent.state_dir)

    @property
    def ledger(self) -> Path:
        """The ledger's file."""
        return self.state_dir / "ledger.sqlite"


def find(given: Path | None) -> Path | None:
    """The configuration file: the one given, else ./dropline.toml, the user's, the computer's; None where none is."""
    if given is not None:
        return given
    places = [Path.cwd(), Path(site_config_dir("dropline")), Path("/etc/dropline")]
    try:
        places.insert(1, Path(user_config_dir("dropline")))
    except RuntimeError:
        pass  # a service user without a home has no configuration of its own
    return next((place / FILE_NAME for place in places if (place / FILE_NAME).is_file()), None)


def read(path: Path) -> Configuration:
    """Read and check a configuration file. Raises RuleError: one line naming file, table and key."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise RuleError(str(path), "", "", f"cannot be read: {cause(error)}; `dropline init` writes one") from None
    try:
        data = tomllib.loads(text.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:  # not only TOMLDecodeError: a number may have too many digits
        raise RuleError(str(path), "", "", f"is not TOML: {error}") from None
    return check(data, str(path), path.absolute().parent)


def check(data: dict[str, Any], source: str, folder: Path) -> Configuration:
    """Make a configuration of parsed TOML. Relative paths count from `folder`. Raises RuleError."""
    unknown = next((key for key in data if key not in Settings.model_fields), None)
    if unknown is not None:  # the class would take some for arguments of its own
        raise RuleError(source, "", unknown, f"unknown key{nearest(unknown, Settings.model_fields)}")
    try:
        settings = Settings(**data)
    except RuntimeError as error:  # a service user may have no home
        raise RuleError(source, "[agent]", "state_dir", f"missing, and has no default here: {error}") from None
    except SettingsError as error:
        raise RuleError("the environment", "", "", f"{error}: it is not JSON; override single keys instead") from None
    except ValidationError as error:
        variable = _variable(error)
        mistake = first_mistake(error, Settings, {} if variable else data)
        raise RuleError(variable or source, mistake.table, mistake.key, mistake.message) from None

    def absolute(path: str) -> str:
        expanded = os.path.expanduser(path)
        if expanded.startswith("~"):
            raise RuleError(
                source, "", path, "there is no such home directory; write the path in full, or begin with ./~"
            )
        return os.path.normpath(folder / expanded).replace(os.sep, "/")

    places = {
        name: table.model_copy(update={"path": absolute(table.path)}) for name, table in settings.destinations.items()
    }
    agent = settings.agent.model_copy(update={"state_dir": absolute(settings.agent.state_dir)})
    settings = settings.model_copy(update={"destinations": places, "agent": agent})
    for (one, here), (other, there) in combinations(places.items(), 2):
        if os.path.realpath(here.path) == os.path.realpath(there.path):
            message = f"destination {one!r} is the same directory; one copy would count as two"
            raise RuleError(source, f"[destinations.{other}]", "path", message)
    rules = build(settings.rules, set(places), source, absolute)
    for rule in rules:
        for name, table in places.items():
            if _overlap(rule.watch, table.path):
                message = f"{table.path} and the watched directory {rule.watch} lie in one another; keep them apart"
                raise RuleError(source, f"[destinations.{name}]", "path", message)
        inside = relative(os.path.realpath(agent.state_dir), os.path.realpath(rule.watch))
        if inside is not None and not inside.startswith(OWN_PREFIX):
            message = f"{agent.state_dir} is inside the watched directory {rule.watch}; keep it elsewhere"
            raise RuleError(source, "[agent]", "state_dir", message)
    return Configuration(settings, rules, source)


def warnings(path: Path) -> list[str]:
    """What is unwise about the file itself."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return []  # reading it has failed already, with the reason
    if mode & stat.S_IWOTH:
        return [f"{path} may be written by anybody: chmod o-w it, for it decides what is deleted"]
    return []


def _variable(error: ValidationError) -> str | None:
    """The environment variable that the first error comes from, if it comes from one."""
    loc = [str(part).upper() for part in error.errors(include_url=False)[0]["loc"]]
    names = {"DROPLINE_" + "__".join(loc[:end]) for end in range(1, len(loc) + 1)}
    return next((f"environment variable {name}" for name in os.environ if name.upper() in names), None)


def _overlap(one: str, other: str) -> bool:
    one, other = os.path.realpath(one), os.path.realpath(other)
    return one == other or relative(one, other) is not None or relative(other, one) is not None
