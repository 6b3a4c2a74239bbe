"""`login`, `logout`, `whoami`, `collections` and `ls`: what concerns Globus alone.

What speaks to the service is imported inside the commands: the others must not wait for it.
"""

import time
from typing import Annotated, Any

import typer

from agent.app.transports import globus_session
from agent.cli.options import ConfigOption, Format, FormatOption, as_written, configuration
from agent.cli.printing import print_json, say
from agent.errors import Refused, Transient
from agent.host.zone import stamp
from rules.actions import Flow, Share
from rules.config.settings import CollectionTable, Configuration
from rules.globus.credentials import warning
from rules.units import bytes_in_words

commands = typer.Typer()


AsOption = Annotated[
    str | None,
    typer.Option("--as", metavar="LOGIN", help="A login that destinations name; else the agent's own account."),
]


def _tables(config: Configuration) -> list[CollectionTable]:
    return [table for table in config.settings.destinations.values() if isinstance(table, CollectionTable)]


def _known(config: Configuration, login: str | None) -> str | None:
    """A login that the configuration names. Raises Refused."""
    known = sorted({table.login for table in _tables(config) if table.login})
    if login is not None and login not in known:
        hint = f"known are {', '.join(known)}" if known else 'write login = "NAME" into one'
        raise Refused(f"no destination has the login {login!r}", hint)
    return login


def _logins(config: Configuration) -> list[str | None]:
    """The accounts that the configuration uses, the agent's own first."""
    named = sorted({table.login for table in _tables(config) if table.login})
    own = any(table.login is None for table in _tables(config)) or any(
        isinstance(action, Flow | Share) for rule in config.rules for action in rule.actions.values()
    )
    return [*([None] if own or not named else []), *named]


def _collections(config: Configuration, login: str | None) -> list[str]:
    """The collections that the destinations of a login use."""
    from agent.destinations.globus.collection_path import local_collection

    tables = [table for table in _tables(config) if table.login == login]
    found = [
        one for table in tables for one in (table.source_collection or local_collection(), table.collection) if one
    ]
    return list(dict.fromkeys(found))


@commands.command()
def login(
    config: ConfigOption = None,
    name: AsOption = None,
    local_server: Annotated[
        bool, typer.Option("--local-server", help="Open a browser on this computer instead of printing a URL.")
    ] = False,
) -> None:
    """Log in to Globus as a person, for the destinations of the configuration. Refused ones go on by themselves then."""
    from agent.destinations.globus.login import for_errands
    from agent.destinations.globus.person import log_in

    chosen = as_written(config)
    actions = [action for rule in chosen.rules for action in rule.actions.values()] if name is None else []
    flows = dict.fromkeys(action.flow for action in actions if isinstance(action, Flow))
    names = any(isinstance(action, Share) and action.by_name for action in actions)
    session = globus_session(chosen, _known(chosen, name))
    if session.account.secret is not None:
        raise Refused("[globus] has the secret of a service account, which needs no login", "see `dropline whoami`")
    try:
        more = for_errands(flows, names=names)
        who = log_in(session, _collections(chosen, name), more, local_server=local_server)
    finally:
        session.close()
    say(f"logged in as {who}" + (f", for destinations with login = {name}" if name else ""))


@commands.command()
def logout(config: ConfigOption = None, name: AsOption = None) -> None:
    """Revoke the tokens and forget them."""
    from agent.destinations.globus.person import log_out

    chosen = as_written(config)
    session = globus_session(chosen, _known(chosen, name))
    try:
        log_out(session)
    finally:
        session.close()
    say("logged out; tokens were revoked")


@commands.command()
def whoami(config: ConfigOption = None, name: AsOption = None, form: FormatOption = Format.TEXT) -> None:
    """The identity that Globus knows the agent by, asked now. Exit code 2 where there is none."""
    chosen = as_written(config)
    logins = _logins(chosen) if name is None else [_known(chosen, name)]
    found = [_account(chosen, logins[0])] if len(logins) == 1 else [_account_or_why(chosen, one) for one in logins]
    if form is Format.JSON:
        print_json(found[0] | {"logins": found})
    else:
        for one in found:
            _show(one)
    if any("error" in one for one in found):
        raise typer.Exit(2)


def _account(chosen: Configuration, login: str | None) -> dict[str, Any]:
    """Whom Globus takes one account for. Raises Refused, Transient."""
    from agent.destinations.globus.person import who

    session = globus_session(chosen, login)
    try:
        return who(session) | {
            "login": login,
            "service_account": session.account.secret is not None,
            "expires_at": session.expires_at(),
            "hint": session.account.hint,
        }
    finally:
        session.close()


def _account_or_why(chosen: Configuration, login: str | None) -> dict[str, Any]:
    try:
        return _account(chosen, login)
    except (Refused, Transient) as error:
        return {"login": login, "error": str(error)}


def _show(one: dict[str, Any]) -> None:
    own = f"{one['login']}: " if one["login"] else ""
    if "error" in one:
        say(f"{own}{one['error']}")
        return
    say(f"{own}{one['name']} ({one['id']}){', a service account' if one['service_account'] else ''}")
    if one["expires_at"] is not None:
        until = stamp(one["expires_at"])
        ends = warning(one["expires_at"], time.time(), one["hint"])
        say(ends or f"the login lasts until {until}, and longer when it is used")


@commands.command()
def collections(
    search: Annotated[str, typer.Argument(metavar="SEARCH", help="Words of its name, or of its owner.")],
    config: ConfigOption = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="How many at the most.")] = 25,
    form: FormatOption = Format.TEXT,
) -> None:
    """Find collections and their ids."""
    session = globus_session(as_written(config))
    try:
        answer = session.ask(lambda tc: list(tc.endpoint_search(search, limit=limit)))
    finally:
        session.close()
    rows = [_collection(one) for one in answer]
    if form is Format.JSON:
        print_json(rows)
        return
    for row in rows:
        say(f"{row['id']}  {row['name']}  {row['kind']}, of {row['owner']}")
    if not rows:
        say(f"no collection is found by {search}")


def _collection(document: Any) -> dict[str, str]:
    name = document.get("display_name") or document.get("canonical_name") or ""
    kind = (document.get("entity_type") or "collection").replace("_", " ")
    return {"id": document["id"], "name": name, "kind": kind, "owner": document.get("owner_string") or "somebody"}


@commands.command()
def ls(
    place: Annotated[
        str, typer.Argument(metavar="DESTINATION[:PATH]", help="A destination of the configuration, and a path.")
    ],
    config: ConfigOption = None,
    form: FormatOption = Format.TEXT,
) -> None:
    """What is at a Globus destination. PATH is relative to it; one that begins with / is the collection's own."""
    from agent.destinations.globus.listing import Listing

    chosen = configuration(config)
    name, _, path = place.partition(":")
    table = chosen.settings.destinations.get(name)
    if not isinstance(table, CollectionTable):
        known = [one for one, other in chosen.settings.destinations.items() if isinstance(other, CollectionTable)]
        raise Refused(f"{name!r} is no Globus destination", f"known are {', '.join(known) or 'none'}")
    base, below = ("/", path[1:]) if path.startswith("/") else (table.path, path)
    session = globus_session(chosen, table.login)
    try:
        listing = Listing(lambda _, call: session.ask(call), table.collection, base)
        entries = sorted(listing.names(below.strip("/")))
    finally:
        session.close()
    if form is Format.JSON:
        print_json([entry._asdict() for entry in entries])
        return
    for entry in entries:
        when = stamp(entry.mtime)
        size = bytes_in_words(entry.size) if entry.kind == "file" else entry.kind
        say(f"{size:>9}  {when}  {entry.name}{'/' if entry.kind == 'dir' else ''}")
