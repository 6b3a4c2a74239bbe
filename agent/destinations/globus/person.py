"""What a person asks of the login: to log in, to log out, and who it is."""

from collections.abc import Mapping, Sequence
from typing import Any

from globus_sdk import AuthClient, GlobusApp
from globus_sdk.login_flows import (
    CommandLineLoginFlowEOFError,
    LocalServerEnvironmentalLoginError,
    LocalServerLoginError,
)
from globus_sdk.scopes import AuthScopes, Scope

from agent.destinations.globus.login import (
    Account,
    application,
    data_access,
    logged_in,
    patience,
    retries,
    wants_data_access,
)
from agent.destinations.globus.session import UNREADABLE, NotThere, Session, document
from agent.destinations.globus.tokens import read, replace
from agent.errors import Refused


def log_in(
    session: Session, collections: Sequence[str], more: Mapping[str, Sequence[Scope]], *, local_server: bool
) -> str:
    """Log in with exactly the scopes that these collections need, and more. Returns the name. Raises Refused, Transient.

    Which need a consent of their own is known from earlier logins, or asked with the first tokens: then there is a
    second URL.
    """
    known = _known(session.account)
    named = [one for one in collections if known.get(one)]
    name = _once(session, named, more, local_server=local_server)
    for one in collections:
        if one not in known:
            try:
                document = session.ask(lambda tc: tc.get_endpoint(one).data)  # noqa: B023  (called at once)
            except NotThere:
                raise Refused(
                    f"there is no Globus collection {one}", "compare the ids with `dropline collections`"
                ) from None
            known[one] = wants_data_access(document)
    replace(session.account.folder / "collections.json", known)
    needed = [one for one in collections if known[one]]
    if set(needed) - set(named):
        print(f"One more consent is needed, to use the data of {', '.join(needed)}:")
        name = _once(session, needed, more, local_server=local_server)
    return name


def _known(account: Account) -> dict[str, bool]:
    try:
        found = read(account.folder / "collections.json")
    except (OSError, ValueError):
        return {}  # it is only a memory: what is not in it is asked for
    return {str(key): bool(value) for key, value in found.items()} if isinstance(found, dict) else {}


def _once(
    session: Session, collections: Sequence[str], more: Mapping[str, Sequence[Scope]], *, local_server: bool
) -> str:
    scopes = [data_access(one) for one in collections]
    try:
        with logged_in(session.account, scopes, more, local_server=local_server) as app:
            return str(_userinfo(app)["name"])
    except CommandLineLoginFlowEOFError:
        raise Refused("no code was given", f"{session.account.hint} on a terminal, and paste the code there") from None
    except (LocalServerEnvironmentalLoginError, LocalServerLoginError) as error:
        raise Refused(
            f"no browser could be used here: {error}", f"{session.account.hint} without --local-server"
        ) from None
    except UNREADABLE as error:
        raise session.translated(error) from None


def log_out(session: Session) -> None:
    """Revoke all tokens and forget them. Raises Refused, Transient."""
    try:
        with application(session.account) as app:
            app.logout(sweep=True)
    except UNREADABLE as error:
        raise session.translated(error) from None


def who(session: Session) -> dict[str, Any]:
    """Id and name that Globus knows the agent by; the Transfer service is asked, too. Raises Refused, Transient."""
    session.ask(lambda tc: tc.task_list(limit=1))  # the tokens alone do not tell whether they still count
    try:
        with application(session.account) as app:
            return _userinfo(app)
    except UNREADABLE as error:
        raise session.translated(error) from None


def _userinfo(app: GlobusApp) -> dict[str, Any]:
    """Id and name. The scopes that the agent asks for need not tell the name: then the id stands for it."""
    with AuthClient(app=app, app_scopes=[AuthScopes.openid], transport=patience(), retry_config=retries()) as auth:
        found = document(auth.userinfo(), "sub")
    return {"id": found["sub"], "name": found.get("preferred_username") or found["sub"]}
