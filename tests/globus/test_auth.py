"""Logging in and staying logged in, through the unmodified SDK: people, service accounts, consents and sessions."""

from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import parse_qs, urlsplit
from urllib.request import urlopen

import globus_sdk
import pytest
from globus_sdk.gare import GlobusAuthorizationParameters, to_gare
from globus_sdk.login_flows import LoginFlowManager
from globus_sdk.scopes import TransferScopes
from globus_sdk.token_storage import MemoryTokenStorage

from tests.globus import Collection, Globus, faults
from tests.globus.tokens import DAY


class Browser(LoginFlowManager):
    """Goes to the URL, and brings the code back."""

    service: Globus

    def run_login_flow(self, auth_parameters: GlobusAuthorizationParameters) -> globus_sdk.OAuthTokenResponse:
        """As CommandLineLoginFlowManager does, with our browser."""
        redirect = f"{self.service.url}v2/web/auth-code"
        url = self._get_authorize_url(auth_parameters, redirect)
        return self.login_client.oauth2_exchange_code_for_tokens(self.service.code(url))


@pytest.fixture
def app(globus: Globus) -> Iterator[globus_sdk.UserApp]:
    """A native app that keeps refresh tokens and never asks by itself, as a daemon should."""
    native = globus_sdk.NativeAppAuthClient(globus.app.id)
    browser = Browser(native, request_refresh_tokens=True)
    browser.service = globus
    config = globus_sdk.GlobusAppConfig(
        request_refresh_tokens=True, token_validation_error_handler=None, login_flow_manager=browser,
        token_storage=MemoryTokenStorage(),
    )  # fmt: skip
    with globus_sdk.UserApp("stand-in", login_client=native, config=config) as made:
        yield made
    native.close()


@pytest.fixture
def person(app: globus_sdk.UserApp) -> Iterator[globus_sdk.TransferClient]:
    """Transfer, as whoever logs in."""
    with globus_sdk.TransferClient(app=app) as made:
        made.retry_config.max_retries = 1
        yield made


def test_a_person_logs_in_and_stays(globus: Globus, app: globus_sdk.UserApp, person: globus_sdk.TransferClient) -> None:
    """The login's id_token is accepted; a token that has expired is renewed; after six months without use it is over."""
    app.login()
    person.task_list()
    for days in (3, 170, 170):
        globus.clock.advance(days * DAY)
        person.task_list()
    globus.clock.advance(200 * DAY)
    with pytest.raises(globus_sdk.AuthAPIError) as caught:
        person.task_list()
    assert caught.value.raw_json is not None
    assert caught.value.raw_json["error"] == "invalid_grant"
    app.login(force=True)
    person.task_list()


def test_logging_out_revokes(globus: Globus, app: globus_sdk.UserApp, person: globus_sdk.TransferClient) -> None:
    """No token counts afterwards."""
    app.login()
    given = [token.value for token in globus.auth.tokens._tokens.values()]
    assert len(given) == 4
    app.logout()
    assert [globus.auth.tokens.find(value) for value in given] == [None] * 4


def test_a_token_that_is_revoked_midway(
    globus: Globus, app: globus_sdk.UserApp, person: globus_sdk.TransferClient
) -> None:
    """An access token is renewed after the 401; with the refresh token gone, that fails."""
    app.login()
    globus.auth.tokens.revoke_all("access")
    person.task_list()
    assert [one.status for one in globus.asked(path="*/task_list")] == [401, 200]
    globus.auth.tokens.revoke_all()
    with pytest.raises(globus_sdk.AuthAPIError):
        person.task_list()


def test_the_browser_goes_back_to_a_local_server_with_a_code_that_needs_its_verifier(globus: Globus) -> None:
    """Redirect with code and state; a wrong verifier, another redirect and a second use are refused."""
    with globus_sdk.NativeAppAuthClient(globus.app.id) as native:
        back = f"{globus.url}v2/web/auth-code?local=1"
        native.oauth2_start_flow(TransferScopes.all, redirect_uri=back, verifier="v" * 43, state="mine")
        with urlopen(native.oauth2_get_authorize_url()) as page:  # noqa: S310  (our own URL)
            came = parse_qs(urlsplit(page.url).query)
        assert came.keys() == {"local", "code", "state"}
        assert came["state"] == ["mine"]
        stolen = globus_sdk.NativeAppAuthClient(globus.app.id)
        stolen.oauth2_start_flow(TransferScopes.all, redirect_uri=back, verifier="w" * 43)
        for _ in range(2):
            with stolen, pytest.raises(globus_sdk.AuthAPIError) as caught:
                stolen.oauth2_exchange_code_for_tokens(came["code"][0])
            assert caught.value.raw_json is not None
            assert caught.value.raw_json["error"] == "invalid_grant"


def test_whoever_says_no_gets_no_code(globus: Globus) -> None:
    """access_denied."""
    globus.auth.refuses = True
    with globus_sdk.NativeAppAuthClient(globus.app.id) as native:
        native.oauth2_start_flow(TransferScopes.all)
        assert globus.code(native.oauth2_get_authorize_url()) == "access_denied"


def test_a_mapped_collection_needs_a_consent(
    globus: Globus, app: globus_sdk.UserApp, person: globus_sdk.TransferClient, tmp_path: Path
) -> None:
    """403 ConsentRequired with the scope that mends it; withdrawn, everything is over."""
    mapped = globus.collection("Mapped", tmp_path / "mapped", kind="GCSv5_mapped_collection")
    app.login()
    with pytest.raises(globus_sdk.TransferAPIError) as caught:
        person.operation_ls(mapped.id, "/")
    assert caught.value.info.consent_required
    gare = to_gare(caught.value)
    assert gare is not None
    app.login(auth_params=gare.authorization_parameters)
    person.operation_ls(mapped.id, "/")
    globus.auth.consents.withdraw(globus.person.id)
    globus.auth.tokens.revoke_all("access")
    with pytest.raises(globus_sdk.AuthAPIError):
        person.operation_ls(mapped.id, "/")


@pytest.mark.parametrize(
    ("kind", "high_assurance"),
    [("GCP_mapped_collection", False), ("GCSv5_guest_collection", False), ("GCSv5_mapped_collection", True)],
)
def test_other_collections_have_no_data_access(
    globus: Globus,
    person: globus_sdk.TransferClient,
    app: globus_sdk.UserApp,
    tmp_path: Path,
    kind: str,
    high_assurance: bool,
) -> None:
    """Unknown Scope, which is why clients must look at the collection first."""
    other = globus.collection("Other", tmp_path / "o", kind=kind, high_assurance=high_assurance)  # type: ignore[arg-type]
    person.add_app_data_access_scope(other.id)
    with pytest.raises(HTTPError) as caught:
        app.login()
    with caught.value as page:
        assert (page.status, b"Unknown Scope" in page.read()) == (400, True)


def test_a_session_policy_is_met_by_a_login(
    globus: Globus,
    app: globus_sdk.UserApp,
    person: globus_sdk.TransferClient,
    source: Collection,
    destination: Collection,
) -> None:
    """A listing says it in a 502, a submission in a 403; a login with these parameters mends it, until the session is over."""
    destination.session_policy = {"session_required_single_domain": "example.org"}
    app.login()
    met = []
    data = globus_sdk.TransferData(source.id, destination.id)
    data.add_item("/a", "/a")
    asks: list[Callable[[], object]] = [
        lambda: person.operation_ls(destination.id, "/"), lambda: person.submit_transfer(data),
    ]  # fmt: skip
    for ask in asks:
        with pytest.raises(globus_sdk.TransferAPIError) as caught:
            ask()
        met.append((caught.value.http_status, caught.value.code))
        gare = to_gare(caught.value)
        assert gare is not None
        assert gare.authorization_parameters.session_required_single_domain == ["example.org"]
    assert met == [(502, "ExternalError.DirListingFailed.LoginFailed"), (403, "PermissionDenied")]
    app.login(auth_params=GlobusAuthorizationParameters(session_required_single_domain=["example.org"]))
    assert person.submit_transfer(data)["code"] == "Accepted"
    globus.auth.sessions.clear()
    with pytest.raises(globus_sdk.TransferAPIError):
        person.operation_ls(destination.id, "/")


def test_a_service_account(globus: Globus) -> None:
    """ClientApp logs in by itself, gets a missing consent by itself; a wrong secret is told."""
    with globus_sdk.ClientApp(
        "x", client_id=globus.account.id, client_secret=globus.account.secret, config=_memory()
    ) as app:
        with globus_sdk.TransferClient(app=app) as client:
            assert client.task_list().data["total"] == 0
        assert not app.login_required()
    with (
        globus_sdk.ClientApp("x", client_id=globus.account.id, client_secret="wrong", config=_memory()) as app,
        globus_sdk.TransferClient(app=app) as client,
        pytest.raises(globus_sdk.AuthAPIError) as caught,
    ):
        client.task_list()
    assert caught.value.http_status == 401


def test_groups_and_flows(globus: Globus) -> None:
    """My groups; a run that is started, found by its flow, and ends."""
    group = globus.auth.directory.group("Team", globus.auth.directory.identities[globus.account.id])
    flow = globus.flows.flow("Publish")
    with globus_sdk.ClientApp(
        "x", client_id=globus.account.id, client_secret=globus.account.secret, config=_memory()
    ) as app:
        with globus_sdk.GroupsClient(app=app) as groups:
            assert [one["id"] for one in groups.get_my_groups()] == [group.id]
        with globus_sdk.SpecificFlowClient(flow.id, app=app) as specific, globus_sdk.FlowsClient(app=app) as flows:
            run = specific.run_flow({"batch": 7}, label="seven", tags=["batch-7"])["run_id"]
            globus.flows.end(run)
            found = flows.list_runs(filter_flow_id=flow.id)
            assert [(one["run_id"], one["status"], one["tags"]) for one in found] == [(run, "SUCCEEDED", ["batch-7"])]


def test_a_canned_answer_reaches_the_client(globus: Globus, transfer: globus_sdk.TransferClient) -> None:
    """What a route is told to say is said so often and no more."""
    globus.faults.answer("GET */task_list", faults.consent_required("scope"), times=2)
    for _ in range(2):
        with pytest.raises(globus_sdk.TransferAPIError) as caught:
            transfer.task_list()
        assert caught.value.info.consent_required.required_scopes == ["scope"]
    transfer.task_list()


def _memory() -> globus_sdk.GlobusAppConfig:
    return globus_sdk.GlobusAppConfig(token_storage=MemoryTokenStorage())
