"""The agent's identity at Globus: a person who logged in, or a service account."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any, Literal

from globus_sdk import ClientApp, ConfidentialAppAuthClient, GlobusApp, GlobusAppConfig, NativeAppAuthClient, UserApp
from globus_sdk.gare import GlobusAuthorizationParameters
from globus_sdk.scopes import (
    AuthScopes,
    FlowsScopes,
    GCSCollectionScopes,
    Scope,
    SpecificFlowScopes,
    TransferScopes,
)
from globus_sdk.transport import RequestsTransport, RetryConfig

from agent.destinations.globus.answers import Bounded
from agent.destinations.globus.tokens import TokenFile, read, replace
from agent.errors import Refused
from agent.host import own_files

NAME = "Dropline"
TIMEOUT = 30.0
"""Seconds without a byte after which a request to Globus counts as lost."""
TRANSFER = "transfer.api.globus.org"
_NOT_MINE = "register an application at https://app.globus.org/settings/developers (docs/GLOBUS.md) and set client_id in [globus]"


@dataclass(frozen=True)
class Account:
    """How the agent identifies itself."""

    client_id: str | None
    """Of the registered application."""
    folder: PurePath
    """Where its tokens are kept."""
    secret: str | None = field(default=None, repr=False)
    """Of a service account; None: a person logs in."""
    login: str | None = None
    """By which the configuration knows that person; None: the agent has one account, or this is its own."""

    @property
    def hint(self) -> str:
        """What a person does where it is not logged in."""
        return f"run `dropline login{f' --as {self.login}' if self.login else ''}`"

    @property
    def application(self) -> str:
        """The application's id. Raises Refused where none is configured."""
        if self.client_id is None:
            raise Refused("no Globus application is configured", _NOT_MINE)
        return self.client_id

    @property
    def tokens(self) -> TokenFile:
        """Where its tokens are. Raises Refused."""
        try:
            return TokenFile(self.folder, self.application)
        except (OSError, ValueError) as error:
            raise Refused(f"{self.folder} cannot be used for tokens: {error}", "make it the agent's own") from None

    @property
    def demands(self) -> PurePath:
        """What Globus asked the next login for."""
        return self.folder / "demands.json"


def retries() -> RetryConfig:
    """One for a renewed token or a broken line, at once; the waiting is ours, which honours Retry-After in full."""
    return RetryConfig(
        max_retries=1, backoff=lambda _: 0.0, transient_error_status_codes=(), retry_after_status_codes=()
    )


def once() -> RetryConfig:
    """None: for requests that must not be repeated unseen."""
    return RetryConfig(max_retries=0)


def patience() -> RequestsTransport:
    """How long requests may take, and how much may come back."""
    made = RequestsTransport(http_timeout=TIMEOUT)
    for scheme in ("https://", "http://"):
        made.session.mount(scheme, Bounded())
    return made


def application(
    account: Account, scopes: Iterable[Scope] = (), by: Literal["command-line", "local-server"] | None = None
) -> GlobusApp:
    """The SDK's application. Without `by` it never asks anybody anything: what is missing is raised. Raises Refused."""
    # A handler of None is what keeps the SDK from starting a login in the middle of a request.
    config = GlobusAppConfig(
        token_storage=account.tokens,
        request_refresh_tokens=True,
        auto_redrive_gares=False,
        token_validation_error_handler=None,
        login_flow_manager=by,
    )
    needed: dict[str, list[Scope]] = {TRANSFER: [TransferScopes.all, *scopes]}
    if account.secret is not None:
        service = ConfidentialAppAuthClient(
            account.application, account.secret, app_name=NAME, transport=patience(), retry_config=retries()
        )
        return ClientApp(NAME, login_client=service, scope_requirements=needed, config=config)
    native = NativeAppAuthClient(account.application, app_name=NAME, transport=patience(), retry_config=retries())
    return UserApp(NAME, login_client=native, scope_requirements=needed, config=config)


def data_access(collection: str) -> Scope:
    """The scope that a mapped collection wants beside that of the service."""
    own: Scope = GCSCollectionScopes(collection).data_access
    return TransferScopes.all.with_dependency(own.with_optional(True))


def wants_data_access(collection: Any) -> bool:
    """Whether a collection, by its document, needs a separate consent: mapped ones do, unless high assurance."""
    return collection.get("entity_type") == "GCSv5_mapped_collection" and not collection.get("high_assurance")


def demand(account: Account, parameters: GlobusAuthorizationParameters) -> None:
    """Remember what Globus wants of the next login. Raises OSError."""
    replace(account.demands, parameters.to_dict())


def demanded(account: Account) -> GlobusAuthorizationParameters | None:
    """What Globus asked the next login for."""
    try:
        return GlobusAuthorizationParameters.from_dict(read(account.demands))
    except (OSError, ValueError, TypeError):
        return None  # nothing, or nothing readable: the service will ask again


def for_errands(flows: Iterable[str], *, names: bool) -> dict[str, list[Scope]]:
    """Resource server → scopes, to start these flows, and to look up the names of identities."""
    needed: dict[str, list[Scope]] = {flow: [SpecificFlowScopes(flow).user] for flow in flows}
    if needed:
        needed[FlowsScopes.resource_server] = [FlowsScopes.run_status]
    if names:
        needed[AuthScopes.resource_server] = [AuthScopes.openid, AuthScopes.view_identities]
    return needed


@contextmanager
def logged_in(
    account: Account, scopes: Iterable[Scope], more: Mapping[str, Sequence[Scope]], *, local_server: bool
) -> Iterator[GlobusApp]:
    """Log in as a person, with a URL and a code, or through a browser here; yields the application.

    `scopes`: for transfers; `more`: resource server → scopes.
    """
    own_files.make_inner_directory(account.folder)
    with application(account, scopes, "local-server" if local_server else "command-line") as app:
        app.add_scope_requirements(dict(more))
        app.login(auth_params=demanded(account), force=True)
        own_files.remove(account.demands)
        yield app
