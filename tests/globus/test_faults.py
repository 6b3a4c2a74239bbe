"""What goes wrong on demand goes wrong as it was asked for, seen through the unmodified SDK."""

import threading
import time
from pathlib import Path

import globus_sdk
import pytest

from tests.globus import Collection, Globus, faults
from tests.globus.test_tasks import HELLO, Client, codes, moved, order


@pytest.mark.parametrize(
    ("reply", "status", "code"),
    [
        (faults.unauthorized(), 401, "AuthenticationFailed"), (faults.conflict(), 409, "Conflict"),
        (faults.rate_limited(120), 429, "RateLimitExceeded"), (faults.internal_error(), 500, "InternalError"),
        (faults.endpoint_error(), 502, "EndpointError"), (faults.unavailable(7), 503, "ServiceUnavailable"),
        (faults.error(403, "PermissionDenied"), 403, "PermissionDenied"),
    ],
)  # fmt: skip
def test_errors(globus: Globus, transfer: Client, reply: faults.Reply, status: int, code: str) -> None:
    """Status, code and Retry-After."""
    transfer.retry_config.retry_after_status_codes = transfer.retry_config.transient_error_status_codes = ()
    globus.faults.answer("GET */submission_id", reply, times=None)
    with pytest.raises(globus_sdk.TransferAPIError) as caught:
        transfer.get_submission_id()
    assert (caught.value.http_status, caught.value.code) == (status, code)
    assert caught.value.headers.get("Retry-After") == {429: "120", 503: "7"}.get(status)
    globus.faults.clear()
    transfer.get_submission_id()


def test_a_lost_reply_and_a_lost_request(
    globus: Globus, source: Collection, destination: Collection, transfer: Client
) -> None:
    """Of the two, only the first made a task, and sending it again finds that."""
    found = []
    for lose in (globus.faults.lose_reply, globus.faults.lose_request):
        lose("POST /v0.10/transfer")
        data = order(source, destination, lose.__name__)
        with pytest.raises(globus_sdk.GlobusConnectionError):
            transfer.submit_transfer(data)
        made = len(globus.tasks.all)
        found.append((made, transfer.submit_transfer(data)["code"], len(globus.tasks.all)))
    assert found == [(1, "Duplicate", 1), (1, "Accepted", 2)]


def test_away(globus: Globus, transfer: Client) -> None:
    """Connections are refused, also on those that were open; then it is back on the same port."""
    transfer.get_submission_id()
    with globus.away(), pytest.raises(globus_sdk.GlobusConnectionError):
        transfer.get_submission_id()
    transfer.get_submission_id()


def test_nonsense(globus: Globus, transfer: Client) -> None:
    """Half a document, a page of HTML, another type, much of it."""
    globus.faults.answer("GET */task_list", faults.malformed())
    globus.faults.answer("GET */task_list", faults.page())
    for _ in range(2):
        assert transfer.task_list().get("DATA") is None
    globus.faults.answer("GET */task_list", faults.content(["?"]))
    assert transfer.task_list().data == ["?"]
    globus.faults.answer("GET */task_list", faults.huge(10_000_000))
    assert len(transfer.task_list()["code"]) == 10_000_000
    globus.faults.twist("GET */task_list", lambda found: found | {"total": "many"})
    assert transfer.task_list()["total"] == "many"


def test_something_happens_between_accepting_and_answering(
    globus: Globus, source: Collection, destination: Collection, transfer: Client
) -> None:
    """`before` and `after` see the service as it then is."""
    seen: list[int] = []
    globus.faults.before("POST /v0.10/transfer", lambda: seen.append(len(globus.tasks.all)))
    transfer.submit_transfer(order(source, destination, "a"))
    globus.faults.after("POST /v0.10/transfer", lambda: seen.append(len(globus.tasks.all)))
    transfer.submit_transfer(order(source, destination, "b"))
    assert seen == [0, 2]


@pytest.mark.parametrize("code", ["PERMISSION_DENIED", "QUOTA_EXCEEDED", "FILE_NOT_FOUND", "ENDPOINT_ERROR"])
def test_a_file_in_trouble(
    globus: Globus, source: Collection, destination: Collection, transfer: Client, code: str
) -> None:
    """The task says so, and goes on when the trouble is over."""
    (source.base / "a").write_bytes(b"hello")
    globus.faults.file("/a", code, times=1)
    task = transfer.submit_transfer(order(source, destination, "a"))["task_id"]
    globus.work()
    assert transfer.get_task(task)["nice_status"] == code
    globus.work()
    assert codes(transfer, task) == ["STARTED", code, "SUCCEEDED"]


def test_a_wrong_byte_is_found_by_verify_checksum_alone(
    globus: Globus, source: Collection, destination: Collection, transfer: Client
) -> None:
    """With it the file is sent again, without it the task succeeds with what is wrong."""
    (source.base / "a").write_bytes(b"hello")
    ends = []
    for verify in (True, False):
        globus.faults.corrupt("/a", times=1)
        task = transfer.submit_transfer(order(source, destination, "a", verify_checksum=verify))["task_id"]
        globus.work()
        globus.work()
        ends.append((codes(transfer, task), (destination.base / "a").read_bytes()))
    assert ends == [
        (["STARTED", "VERIFY_CHECKSUM", "SUCCEEDED"], b"hello"), (["STARTED", "SUCCEEDED"], b"iello"),
    ]  # fmt: skip


def test_success_that_is_none(globus: Globus, source: Collection, destination: Collection, transfer: Client) -> None:
    """A file left out without a word, and evidence that is another's."""
    (source.base / "a").write_bytes(b"hello")
    (source.base / "b").write_bytes(b"hello")
    globus.faults.omit("/a")
    globus.faults.misreport("/b")
    task = transfer.submit_transfer(order(source, destination, "a", "b", verify_checksum=True))["task_id"]
    globus.work()
    assert transfer.get_task(task)["status"] == "SUCCEEDED"
    assert moved(transfer, task) == [("/b", 5, HELLO[::-1])]
    assert [one.name for one in destination.base.iterdir()] == ["b"]


def test_what_others_do_to_a_task(
    globus: Globus, source: Collection, destination: Collection, transfer: Client
) -> None:
    """FAILED, cancelled by an administrator, INACTIVE, paused, disconnected: each as the task shows it."""
    (source.base / "a").write_bytes(b"hello")

    def state(task: str) -> tuple[object, ...]:
        one = transfer.get_task(task)
        return (
            one["status"],
            one["nice_status"],
            (one["fatal_error"] or {}).get("code"),
            one["is_paused"],
            one["canceled_by_admin"],
        )

    tasks = [transfer.submit_transfer(order(source, destination, "a", label=str(n)))["task_id"] for n in range(1)]
    globus.tasks.fail(tasks[0])
    assert state(tasks[0]) == ("FAILED", None, "ENDPOINT_ERROR", False, None)
    task = transfer.submit_transfer(order(source, destination, "a"))["task_id"]
    globus.tasks.cancel_as_admin(task)
    assert state(task) == ("FAILED", None, "CANCELED", False, "SOURCE")
    task = transfer.submit_transfer(order(source, destination, "a"))["task_id"]
    globus.tasks.suspend(task)
    globus.work()
    assert state(task) == ("INACTIVE", "CREDENTIALS_EXPIRED", None, False, None)
    globus.tasks.resume(task)
    destination.paused = "maintenance"
    globus.work()
    assert state(task) == ("ACTIVE", "PAUSED", None, True, None)
    assert [rule["message"] for rule in transfer.task_pause_info(task)["pause_rules"]] == ["maintenance"]
    destination.paused, source.connected = None, False
    globus.work()
    assert state(task) == ("ACTIVE", "GC_NOT_CONNECTED", None, False, None)
    source.connected = True
    globus.work()
    assert state(task) == ("SUCCEEDED", None, None, False, None)


@pytest.mark.parametrize(
    ("trouble", "status", "code"),
    [
        ({"connected": False}, 502, "ExternalError.DirListingFailed.GCDisconnected"),
        ({"paused": "maintenance"}, 409, "OperationPaused"), ({"members": set()}, 403, "EndpointPermissionDenied"),
    ],
)  # fmt: skip
def test_listing_a_collection_in_trouble(
    globus: Globus, source: Collection, transfer: Client, trouble: dict[str, object], status: int, code: str
) -> None:
    """What ls says."""
    for name, value in trouble.items():
        setattr(source, name, value)
    with pytest.raises(globus_sdk.TransferAPIError) as caught:
        transfer.operation_ls(source.id, "/")
    assert (caught.value.http_status, caught.value.code) == (status, code)


def test_a_quota(globus: Globus, source: Collection, destination: Collection, transfer: Client) -> None:
    """Waited for, or with fail_on_quota_errors fatal."""
    (source.base / "a").write_bytes(b"hello")
    destination.quota = 4
    ends = []
    for fatal in (False, True):
        task = transfer.submit_transfer(order(source, destination, "a", fail_on_quota_errors=fatal))["task_id"]
        globus.work()
        ends.append((transfer.get_task(task)["status"], codes(transfer, task)[-1]))
        if not fatal:
            transfer.cancel_task(task)
    assert ends == [("ACTIVE", "QUOTA_EXCEEDED"), ("FAILED", "QUOTA_EXCEEDED")]


def test_requests_are_counted_and_metered(globus: Globus, transfer: Client) -> None:
    """The record has them all; over the limit there is 429 with the seconds to wait."""
    globus.limits.requests_per_second = 1
    transfer.retry_config.retry_after_status_codes = transfer.retry_config.transient_error_status_codes = ()
    for _ in range(10):
        transfer.get_submission_id()
    with pytest.raises(globus_sdk.TransferAPIError) as caught:
        transfer.get_submission_id()
    assert caught.value.http_status == 429
    assert 0 < int(caught.value.headers["Retry-After"]) <= 11
    assert (globus.count("GET", "*/submission_id"), globus.count("POST")) == (11, 1)
    assert globus.rate(60.0) == 12


def test_tasks_that_run_by_themselves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With by_itself nobody calls work, and what waits for a file goes on when it comes."""
    with Globus(by_itself=True) as service:
        for name, value in service.environment.items():
            monkeypatch.setenv(name, value)
        source, destination = (service.collection(name, tmp_path / name) for name in ("source", "destination"))
        auth = globus_sdk.ConfidentialAppAuthClient(service.account.id, str(service.account.secret))
        scope = globus_sdk.scopes.TransferScopes.all
        with auth, Client(authorizer=globus_sdk.ClientCredentialsAuthorizer(auth, scope)) as transfer:
            arrived = threading.Event()
            service.faults.after(
                "GET */task/*", lambda: arrived.set() if (destination.base / "a").exists() else None, None
            )
            task = transfer.submit_transfer(order(source, destination, "a"))["task_id"]
            (source.base / "a").write_bytes(b"hello")
            end = time.monotonic() + 30
            while transfer.get_task(task)["status"] == "ACTIVE":
                assert time.monotonic() < end, "it never ended"
            assert arrived.is_set()
            assert transfer.get_task(task)["status"] == "SUCCEEDED"
