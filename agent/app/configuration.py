"""The configuration: a TOML file, overridden by environment variables such as `DROPLINE_AGENT__STATE_DIR`.

Settings stop at `app`: the parts of the agent get values, not this.
"""

import os
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, permutations
from pathlib import PurePath
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from pydantic import ValidationError

from agent.app import presets
from agent.errors import cause
from agent.files import LOCAL
from agent.host import own_files, protection
from agent.host import secrets as secret
from agent.host.zone import zone
from rules.config.config_error import ConfigError, RuleError, all_errors, in_text, location, unknown_destinations
from rules.config.lines import Lines
from rules.config.load import reclaim_differs
from rules.config.settings import Configuration, DirectoryTable, GlobusTable, Settings
from rules.match import overlap, relative
from rules.model import OWN_PREFIX
from rules.patterns.portable import windows_path
from rules.rule import Rule

FILE_NAME = "dropline.toml"
_PREFIX = "DROPLINE_"
"""Of environment variables that override the file."""
AT_MOST = 4 * 2**20
"""Bytes of a configuration file."""
_AT_LINE = re.compile(r"\(at line (\d+), column \d+\)")
_DEEP = re.compile(rb"""(?<![\w-])(?:["']?[\w-]++["']?[ \t]*+\.[ \t]*+){64}""")
"""A key for which tomllib takes time by the square of its parts, minutes for one of 100 kB."""


def _overridden(data: Mapping[str, Any], by: Mapping[str, Any]) -> dict[str, Any]:
    """The tables of the file, where what the environment has comes first."""
    both = (key for key, value in by.items() if isinstance(value, dict) and isinstance(data.get(key), dict))
    return {**data, **by, **{key: _overridden(data[key], by[key]) for key in both}}


def _environment() -> dict[str, Any]:
    """What environment variables say, as TOML would. Raises SettingsError."""
    if not any(name.upper().startswith(_PREFIX) for name in os.environ):
        return {}
    # Imported here: it takes longer than the commands that most people give without such a variable.
    from pydantic_settings import EnvSettingsSource, SettingsError

    try:
        return EnvSettingsSource(Settings, env_prefix=_PREFIX, env_nested_delimiter="__")()  # type: ignore[arg-type]  # any model
    except SettingsError as error:
        raise RuleError("the environment", "", "", f"{error}: it is not JSON; override single keys instead") from None


class Source(NamedTuple):
    """A configuration file as it was read."""

    path: PurePath
    text: bytes
    facts: own_files.Facts
    found: bool
    """It was found, and not named."""


def find(given: PurePath | None) -> Source | None:
    """The configuration file: the one given, else ./dropline.toml, the user's, the computer's; None where none is.

    Raises RuleError where it cannot be read, and where one is found that another user put there: it names commands, which
    would be run as whoever asks.
    """
    if given is not None:
        return _named(given)
    return next((found for folder in _places() if (found := _found(folder / FILE_NAME)) is not None), None)


def _named(path: PurePath) -> Source:
    try:
        return Source(path, *own_files.read_bounded(path, AT_MOST), found=False)
    except OSError as error:
        raise _unreadable(path, error) from None


def _found(path: PurePath) -> Source | None:
    try:
        found = own_files.read_found(path, AT_MOST)
    except OSError as error:
        raise _unreadable(path, error) from None
    if found is None:
        return None
    text, facts, owner = found
    if owner is not None:
        raise _of_another(path, owner)
    return Source(path, text, facts, found=True)


def _unreadable(path: PurePath, error: OSError) -> RuleError:
    return RuleError(path.as_posix(), "", "", f"cannot be read: {cause(error)}; `dropline init` writes one")


def _of_another(found: PurePath, owner: str) -> RuleError:
    message = f"it was found, and belongs to another user ({owner}), who decides by it what is deleted, and what is run"
    return RuleError(
        found.as_posix(), "", "", f"{message}; if you trust them, name it (--config), or {protection.owner_hint(found)}"
    )


def require_not_of_another(found: PurePath) -> None:
    """Raises RuleError where what was found, and not named, belongs to another user."""
    owner = own_files.another_owner(found)
    if owner is not None:
        raise _of_another(found, owner)


def _places() -> Iterator[PurePath]:
    """The folders where a configuration file is looked for, in this order."""
    yield here()
    from platformdirs import site_config_dir, user_config_dir

    try:
        yield PurePath(user_config_dir("dropline"))
    except RuntimeError:
        pass  # a service user without a home has no configuration
    yield PurePath(site_config_dir("dropline"))
    yield PurePath("/etc/dropline")


def here() -> PurePath:
    """The current directory."""
    return PurePath(os.getcwd())


def absolute(path: PurePath) -> PurePath:
    """The same place, whatever the current directory is later."""
    return path if path.is_absolute() else here() / path


def read(path: PurePath) -> Configuration:
    """Read and check a configuration file that was named. Raises RuleError: one line naming file, table and key."""
    return parse(_named(path))


def again(config: Configuration) -> Configuration:
    """The configuration as its file is now. Raises RuleError."""
    path = PurePath(config.source)
    source = _found(path) if config.found else _named(path)
    if source is None:
        raise RuleError(
            path.as_posix(), "", "", "is no file any more; write it again, or name another one with --config"
        )
    return parse(source)


def parse(source: Source) -> Configuration:
    """Check what a configuration file says. Raises RuleError: one line naming file, table and key."""
    path, text, facts, found = source
    if len(text) > AT_MOST:
        raise RuleError(path.as_posix(), "", "", f"is larger than {AT_MOST // 2**20} MiB, so it is no configuration")
    if _DEEP.search(text):
        raise RuleError(
            path.as_posix(), "", "", "has a name of 64 parts or more, with dots between, so it is no configuration"
        )
    try:
        plain = text.decode("utf-8-sig")
        data = tomllib.loads(plain)
    except (ValueError, RecursionError) as error:  # not only TOMLDecodeError: a number may have too many digits
        at = _AT_LINE.search(str(error))  # for people only: this version of tomllib has the number nowhere else
        raise in_text(
            path.as_posix(), text.decode("utf-8-sig", "replace"), str(error), int(at[1]) if at else None
        ) from None
    if facts.anybody_may_write:
        message = f"may be written by anybody: {protection.unwritable_hint(path)}, for it decides what is deleted, and what is run"
        raise RuleError(path.as_posix(), "", "", message)
    config = check(data, path.as_posix(), absolute(path).parent, facts.stamp, plain)
    config.data = data
    config.found = found
    secret = _secret_in(data) if facts.open_to_others else None
    if secret is not None:
        message = f"the file can be read by others: {protection.private_hint(path)}, or keep the secret apart ({secret.instead})"
        raise RuleError(path.as_posix(), secret.table, secret.key, message)
    return config


class _Secret(NamedTuple):
    """Where a secret is written."""

    table: str
    key: str
    instead: str
    """The key that names a file with it."""


def _secret_in(data: Mapping[str, Any]) -> _Secret | None:
    """The first secret in a file that was checked. The address of a chat, or the path of a webhook, is enough to write there."""
    if data.get("globus", {}).get("client_secret"):
        return _Secret("[globus]", "client_secret", "client_secret_file")
    if data.get("notify", {}).get("webhook", {}).get("url"):
        return _Secret("[notify.webhook]", "url", "url_file")
    for rule in data.get("rules", ()):
        for action in rule.get("then", ()):
            parts = urlsplit(action.get("webhook", ""))
            if (parts.path.strip("/") or parts.query) and "secret_file" not in action:
                return _Secret(
                    f"[[rules]] {rule['name']!r}", "then.webhook", "secret_file, which the receiver asks for"
                )
    return None


def check(
    data: dict[str, Any], source: str, folder: PurePath, stamp: tuple[int, int, int] | None = None, text: str = ""
) -> Configuration:
    """Make a configuration of parsed TOML. Relative paths count from `folder`; `stamp`, `text`: of the file. Raises RuleError."""

    def placed(path: str) -> str:
        expanded = os.path.expanduser(path)
        if expanded.startswith("~"):
            raise ValueError("there is no such home directory; write the path in full, or begin with ./~")
        made = os.path.normpath(folder / expanded)
        return windows_path(made) if sys.platform == "win32" else made

    context = {"preset": presets.data, "absolute": placed}
    try:
        settings = Settings.model_validate(_overridden(data, _environment()), context=context)
    except ValidationError as error:
        variable = _variable(error)
        config_errors = all_errors(error, Settings, {} if variable else data)
        if variable:
            raise RuleError.of(variable, config_errors[:1], None) from None
        known = {one.path for one in config_errors}
        config_errors += [one for one in unknown_destinations(data) if one.path not in known]
        raise RuleError.of(source, config_errors, Lines(text) if text else None) from None
    if not settings.agent.state_dir:
        from platformdirs import user_state_dir

        try:
            state = placed(user_state_dir("dropline"))
        except RuntimeError as error:  # a service user may have no home
            raise RuleError(source, "[agent]", "state_dir", f"missing, and has no default here: {error}") from None
        settings = settings.model_copy(update={"agent": settings.agent.model_copy(update={"state_dir": state})})
    config_errors = list(_not_apart(settings))
    try:
        by = zone(settings.agent.timezone)
    except ValueError as error:
        config_errors.append(ConfigError("[agent]", "timezone", str(error), ("agent", "timezone")))
    if config_errors:
        raise RuleError.of(source, config_errors, Lines(text) if text else None)
    return Configuration(settings, source, stamp, by)


def _not_apart(settings: Settings) -> Iterator[ConfigError]:
    """Directories that are not apart, by whatever names and mounts they are known."""
    rules, agent = settings.rules, settings.agent
    local = {name: table for name, table in settings.destinations.items() if isinstance(table, DirectoryTable)}
    for (one, first), (other, second) in combinations(local.items(), 2):
        if _holds(first.path, second.path) and _holds(second.path, first.path):
            yield _at_destination(other, f"destination {one!r} is the same directory; one copy would count as two")
    yield from _trees(rules)
    for rule in rules:
        for name, table in local.items():
            if _holds(table.path, rule.watch):
                message = f"{table.path} is the watched directory {rule.watch}, or contains it; keep them apart"
                yield _at_destination(name, message)
        yield from _nested(rule, local)
        inside = relative(LOCAL.resolve(agent.state_dir), LOCAL.resolve(rule.watch))
        if inside is not None and not inside.startswith(OWN_PREFIX):
            message = f"{agent.state_dir} is inside the watched directory {rule.watch}; keep it elsewhere"
            yield ConfigError("[agent]", "state_dir", message, ("agent", "state_dir"))
            return  # for every rule it would be the same line


def _at_destination(name: str, message: str) -> ConfigError:
    return ConfigError(f"[destinations.{name}]", "path", message, ("destinations", name, "path"))


def _nested(rule: Rule, local: Mapping[str, DirectoryTable]) -> Iterator[ConfigError]:
    """Destinations of a rule of which one lies in the other."""
    required = [(target.to, local[target.to].path) for target in rule.deliver if target.to in local]
    for (name, path), (other, inside) in permutations(required, 2):
        if _holds(path, inside):
            message = (
                f"it lies in {name!r} ({path}), and rule {rule.name!r} delivers to both: one copy could count as two"
            )
            yield _at_destination(other, message)


def _trees(rules: Sequence[Rule]) -> Iterator[ConfigError]:
    """Rules that know one tree by two names, and reclaim differently in it or spell it differently."""
    for (_, one), (number, other) in combinations(enumerate(rules), 2):
        first, second = PurePath(one.watch), PurePath(other.watch)  # which know whether case counts on this system
        if (first.is_relative_to(second) or second.is_relative_to(first)) and not overlap(one.watch, other.watch):
            message = (
                f"{other.watch} and {one.watch} (rule {one.name!r}) differ in case alone, and are one; write them alike"
            )
            yield ConfigError(f"[[rules]] {other.name!r}", "watch", message, ("rules", number, "watch"))
        if (_holds(one.watch, other.watch) or _holds(other.watch, one.watch)) and one.reclaim != other.reclaim:
            table = f"[[rules]] {other.name!r}"
            yield ConfigError(table, "reclaim", reclaim_differs(one, other), ("rules", number, "reclaim"))


def client_secret(table: GlobusTable) -> str | None:
    """The service account's secret. Raises Refused where its file cannot be read, or can be by others."""
    if table.client_secret is not None:
        return table.client_secret.get_secret_value()
    if table.client_secret_file is None:
        return None
    return secret.read(table.client_secret_file)


class Secrets(NamedTuple):
    """What is read from files when a configuration is made."""

    globus: str | None
    token: str | None
    """Of the status page."""

    @classmethod
    def of(cls, config: Configuration) -> "Secrets":
        """Raises Refused where one cannot be read, or can be by others."""
        page = config.settings.agent
        if not page.listen or page.token_file is None:
            return cls(client_secret(config.settings.globus), None)
        from agent.observe.web.authenticator import token

        return cls(client_secret(config.settings.globus), token(page.token_file))

    def __repr__(self) -> str:
        return "Secrets()"


def account_folder(config: Configuration) -> PurePath:
    """Where tokens are kept."""
    return config.state_dir / "globus"


def warnings(path: own_files.StrPath) -> list[str]:
    """What is unwise about the file itself."""
    owner = own_files.another_owner(path)
    if owner is not None:
        message = f"{path} belongs to another user ({owner}), who decides by it what is deleted, and what is run"
        return [f"{message}: {protection.owner_hint(path)}"]
    return []


def _variable(error: ValidationError) -> str | None:
    """The environment variable that the first error comes from, if it comes from one."""
    loc = [str(part).upper() for part in location(error.errors(include_url=False)[0], Settings)]
    names = {_PREFIX + "__".join(loc[:end]) for end in range(1, len(loc) + 1)}
    return next((f"environment variable {name}" for name in os.environ if name.upper() in names), None)


def _holds(one: str, other: str) -> bool:
    """Whether the second directory is the first, or lies in it: by its real name, or by another mount."""
    if LOCAL.location(one).holds(LOCAL.location(other)):
        return True
    one, other = LOCAL.resolve(one), LOCAL.resolve(other)
    return one == other or relative(other, one) is not None
