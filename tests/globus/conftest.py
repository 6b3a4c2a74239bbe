"""The stand-in, up, with clients that nobody here wrote."""

from collections.abc import Iterator
from pathlib import Path

import globus_sdk
import pytest

from tests.globus import Collection, Globus
from tests.globus.scopes import ALL_OF_TRANSFER, data_access


@pytest.fixture
def globus(monkeypatch: pytest.MonkeyPatch) -> Iterator[Globus]:
    """The service; SDK clients made from now on talk to it."""
    with Globus() as service:
        for name, value in service.environment.items():
            monkeypatch.setenv(name, value)
        yield service


@pytest.fixture
def source(globus: Globus, tmp_path: Path) -> Collection:
    """Where files come from."""
    return globus.collection("Instrument", tmp_path / "source")


@pytest.fixture
def destination(globus: Globus, tmp_path: Path) -> Collection:
    """Where they go."""
    return globus.collection("Campus Store", tmp_path / "destination")


@pytest.fixture
def transfer(globus: Globus) -> Iterator[globus_sdk.TransferClient]:
    """The SDK's client, as the service account, without retries of its own."""
    yield from client(globus)


def client(service: Globus, *collections: Collection) -> Iterator[globus_sdk.TransferClient]:
    """The SDK's client, as the service account, with consent for these mapped collections."""
    auth = globus_sdk.ConfidentialAppAuthClient(service.account.id, str(service.account.secret))
    needs = " ".join(f"*{data_access(one.id)}" for one in collections)
    scope = f"{ALL_OF_TRANSFER}[{needs}]" if needs else ALL_OF_TRANSFER
    with auth, globus_sdk.TransferClient(authorizer=globus_sdk.ClientCredentialsAuthorizer(auth, scope)) as made:
        made.retry_config.max_retries = 0
        yield made
