"""`login`, `logout`, `whoami`, `collections` and `ls`: what concerns Globus alone.

What speaks to the service is imported inside the commands: the others must not wait for it.
"""

import time
from datetime import datetime
from typing import Annotated, Any

import typer

from agent.app.transports import globus_session
from agent.cli.options import ConfigOption, Format, FormatOption, configuration, state
from agent.cli.printing import print_json, say
from agent.errors import Refused
from rules.actions import Flow, Share
from rules.config.settings import CollectionTable, Configuration
from rules.globus.credentials import warning
from rules.units import bytes_in_words

commands = typer.Typer()


def _collections(config: Configuration) -> list[str]:
    """The collections that the configured destinations use."""
    from agent.destinations.globus.course import local_collection

    tables = [table for table in config.settings.destinations.values() if isinstance(table, CollectionTable)]
    found = [
        one for table in tables for one in (table.source_collection or local_collection(), table.collection) if one
    ]
    return list(dict.fromkeys(found))


@commands.command()
def login(
    config: ConfigOption = None,
    local_server: Annotated[
        bool, typer.Option("--local-server", help="Open a browser on this computer instead of printing a URL.")
    ] = False,
) -> None:
    """Log in to Globus as a person, for the destinations of the configuration. Refused ones go on by themselves then."""
    from agent.destinations.globus.login import for_errands
    from agent.destinations.globus.person import log_in

    chosen = state(config)
    actions = [action for rule in chosen.rules for action in rule.actions.values()]
    flows = dict.fromkeys(action.flow for action in actions if isinstance(action, Flow))
    names = any(isinstance(action, Share) and action.by_name for action in actions)
    session = globus_session(chosen)
    if session.account.secret is not None:
        raise Refused("[globus] has the secret of a service account, which needs no login", "see `dropline whoami`")
    try:
        more = for_errands(flows, names=names)
        name = log_in(session, _collections(chosen), more, local_server=local_server)
    finally:
        session.close()
    say(f"logged in as {name}")


@commands.command()
def logout(config: ConfigOption = None) -> None:
    """Revoke the tokens and forget them."""
    from agent.destinations.globus.person import log_out

    session = globus_session(state(config))
    try:
        log_out(session)
    finally:
        session.close()
    say("logged out; tokens were revoked")


@commands.command()
def whoami(config: ConfigOption = None, form: FormatOption = Format.TEXT) -> None:
    """Whom Globus takes the agent for, asked now. Exit code 2 where it takes it for nobody."""
    from agent.destinations.globus.person import who

    session = globus_session(state(config))
    try:
        found = who(session) | {
            "service_account": session.account.secret is not None,
            "expires_at": session.expires_at(),
        }
    finally:
        session.close()
    if form is Format.JSON:
        print_json(found)
        return
    say(f"{found['name']} ({found['id']}){', a service account' if found['service_account'] else ''}")
    if found["expires_at"] is not None:
        until = datetime.fromtimestamp(found["expires_at"]).astimezone().isoformat(sep=" ", timespec="seconds")
        say(warning(found["expires_at"], time.time()) or f"the login lasts until {until}, and longer when it is used")


@commands.command()
def collections(
    search: Annotated[str, typer.Argument(metavar="SEARCH", help="Words of its name, or of its owner.")],
    config: ConfigOption = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="How many at the most.")] = 25,
    form: FormatOption = Format.TEXT,
) -> None:
    """Find collections and their ids."""
    session = globus_session(state(config))
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
    session = globus_session(chosen)
    try:
        listing = Listing(lambda _, call: session.ask(call), table.collection, base)
        entries = sorted(listing.names(below.strip("/")))
    finally:
        session.close()
    if form is Format.JSON:
        print_json([entry._asdict() for entry in entries])
        return
    for entry in entries:
        when = datetime.fromtimestamp(entry.mtime).astimezone().isoformat(sep=" ", timespec="seconds")
        size = bytes_in_words(entry.size) if entry.kind == "file" else entry.kind
        say(f"{size:>9}  {when}  {entry.name}{'/' if entry.kind == 'dir' else ''}")
