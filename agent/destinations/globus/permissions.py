"""Access rules of a collection: only missing ones are made."""

from collections.abc import Sequence
from functools import partial

from globus_sdk import AuthClient, GlobusApp
from globus_sdk.scopes import AuthScopes

from agent.destinations.globus.login import patience, retries
from agent.destinations.globus.session import Clash, Forbidden, Session, document, rows
from agent.errors import Refused


def grant(session: Session, collection: str, folders: Sequence[str], whose: str, principal: str) -> None:
    """Let somebody read these folders. What is granted already, there or above, stays as it is. Raises Transient, Refused.

    Args:
        session: speaks to the service.
        collection: a guest collection, where the agent's identity is an access manager.
        folders: absolute paths, each with a "/" at its end.
        whose: `identity` or `group`.
        principal: its id.
    """
    try:
        known = session.ask(lambda tc: rows(tc.endpoint_acl_list(collection), "path", "permissions"))
        mine = [
            str(one["path"])
            for one in known
            if one.get("principal_type") == whose and str(one.get("principal")).lower() == principal
        ]
        for folder in folders:
            if not any(folder.startswith(path if path.endswith("/") else f"{path}/") for path in mine):
                _add(session, collection, folder, whose, principal)
    except Forbidden as error:
        hint = "make the agent's identity an access manager of that collection"
        raise Refused(f"access to collection {collection} may not be granted: {error.reason}", hint) from None


def _add(session: Session, collection: str, folder: str, whose: str, principal: str) -> None:
    wanted = {
        "DATA_TYPE": "access", "principal_type": whose, "principal": principal, "path": folder, "permissions": "r",
    }  # fmt: skip
    try:
        session.ask(lambda tc: document(tc.add_endpoint_acl_rule(collection, wanted)))
    except Clash:
        pass  # there already (409): somebody was as fast, or a request was sent twice


def identity(session: Session, name: str) -> str:
    """The id of a user name. Raises Transient, Refused."""
    found = session.beside(partial(_look_up, name=name))
    if found is None:
        raise Refused(f"Globus knows no identity {name}", "compare the name, or let them log in to Globus once")
    return found


def _look_up(app: GlobusApp, name: str) -> str | None:
    scopes = [AuthScopes.openid, AuthScopes.view_identities]
    with AuthClient(app=app, app_scopes=scopes, transport=patience(), retry_config=retries()) as auth:
        entries = document(auth.get_identities(usernames=name)).get("identities")
        if not isinstance(entries, list):
            raise ValueError("no such list")
        return next((str(one["id"]).lower() for one in entries if str(one["username"]).lower() == name), None)
