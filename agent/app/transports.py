"""The transports of the configured destinations, and how Globus is spoken to."""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from agent.app.configuration import account_folder, client_secret
from agent.destinations import Transport, Wake
from agent.destinations.directory.transport import DirectoryTransport
from agent.errors import Refused
from agent.host.lock import of_destination
from agent.observe.metrics import Metrics
from rules.config.settings import CollectionTable, Configuration, DirectoryTable

if TYPE_CHECKING:
    from agent.destinations.globus.collection_path import CollectionPath
    from agent.destinations.globus.session import Session


class Transports:
    """Makes the transports of the configured destinations; those that speak to one service share a session."""

    def __init__(self, config: Configuration, key: str, count: Metrics) -> None:
        """
        Args:
            config: the destinations.
            key: of this agent.
            count: counts requests.
        """
        self._config = config
        self._key = key
        self._count = count
        self._sessions: dict[str | None, Session] = {}
        """By the login that they act as; None: the agent's own account."""
        self.expiries: dict[str, Callable[[], float | None]] = {}
        """When the login of each destination that needs one dies unless it is used."""

    def make(self, name: str, wake: Wake) -> Transport:
        """The transport of a destination. Raises Refused."""
        table = self._config.settings.destinations[name]
        if isinstance(table, DirectoryTable):
            hold = of_destination(self._config.state_dir, name)
            return DirectoryTransport(
                name, table.path, table.verify, table.checksum, self._key, wake, hold, table.limits(self._config.zone),
                mounted=table.mounted, dir_mode=table.dir_mode, mode=table.mode, group=_group(name, table.group),
            )  # fmt: skip
        # Imported here: who delivers to directories only does not pay for what this brings along.
        from agent.destinations.globus import GlobusTransport

        transport = GlobusTransport(
            name, globus_collection_path(name, table), self.session(table.login), self._key, table.outstanding,
            lambda operation, outcome: self._count.requested(name, operation, outcome),
        )  # fmt: skip
        self.expiries[name] = transport.expires_at
        return transport

    def session(self, login: str | None = None) -> "Session":
        """Globus, as an account of the configuration speaks to it. Raises Refused."""
        if login not in self._sessions:
            self._sessions[login] = globus_session(self._config, login)
        return self._sessions[login]


def globus_session(config: Configuration, login: str | None = None) -> "Session":
    """Globus, as a person who logged in by this name speaks to it; None: the agent's own account. Raises Refused."""
    from agent.destinations.globus.login import Account
    from agent.destinations.globus.session import Session

    table, folder = config.settings.globus, account_folder(config)
    if login is None:
        return Session(Account(table.client_id, folder, client_secret(table)))
    return Session(Account(table.login_client_id or table.client_id, folder / "logins" / login, login=login))


def globus_collection_path(name: str, table: CollectionTable) -> "CollectionPath":
    """Between which collections a destination's files go. Raises Refused where there is no source collection."""
    from agent.destinations.globus.collection_path import CollectionPath, local_collection

    source = table.source_collection or local_collection()
    if source is None:
        raise Refused(
            f"destination {name} has no source_collection, and there is no Globus Connect Personal here",
            "set source_collection to the collection that shows the files (`dropline collections SEARCH` finds it)",
        )
    return CollectionPath(
        source=source, source_root=table.source_root, source_path=table.source_path, collection=table.collection,
        path=table.path, verify_checksum=table.verify_checksum, encrypt_data=table.encrypt_data, deadline=table.deadline,
        notify=table.notify, checksum=table.checksum,
    )  # fmt: skip


def _group(destination: str, name: str | None) -> int | None:
    """The number of a group. Raises Refused where there is none, or where the agent's user cannot give files to it."""
    if name is None:
        return None
    import grp  # where there are groups

    try:
        found = grp.getgrnam(name).gr_gid
    except KeyError:
        hint = f"correct `group` of [destinations.{destination}]"
        raise Refused(f"there is no group {name!r} on this computer", hint) from None
    if os.geteuid() != 0 and found not in (os.getegid(), *os.getgroups()):
        hint = "add the user to the group, and start the agent again"
        raise Refused(f"[destinations.{destination}]: the agent's user is not in the group {name!r}", hint)
    return found
