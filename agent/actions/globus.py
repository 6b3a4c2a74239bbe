"""What is done through Globus: starting flows, granting access. Its package is imported when it is first needed."""

import json
from typing import TYPE_CHECKING

from agent.ledger import Queued
from rules.actions import Flow, Share

if TYPE_CHECKING:
    from agent.destinations.globus.session import Session


class Services:
    """The account that does it."""

    def __init__(self, session: "Session") -> None:
        """`session`: shared with the destinations."""
        self._session = session
        self._known: dict[str, str] = {}
        """User name → id, as Globus said."""

    def run_flow(self, action: Flow, queued: Queued) -> None:
        """Start the flow with its frozen input. Raises Transient, Refused."""
        from agent.destinations.globus.runs import start

        start(self._session, action.flow, json.loads(queued.payload), perhaps=queued.attempt > 0)

    def share(self, action: Share, queued: Queued) -> None:
        """Let somebody read the batch's folders. Raises Transient, Refused."""
        from agent.destinations.globus.permissions import grant, identity

        principal = action.principal
        if action.by_name:
            if principal not in self._known:
                self._known[principal] = identity(self._session, principal)
            principal = self._known[principal]
        for collection, folders in json.loads(queued.payload).items():
            grant(self._session, collection, folders, action.whose, principal)
