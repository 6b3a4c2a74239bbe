"""Transfers through the unmodified SDK: what is accepted, what happens to real files, and what tells of it."""

import hashlib
import os
import sys
from typing import Any

import globus_sdk
import pytest

from tests.globus import Collection, Globus

Client = globus_sdk.TransferClient
HELLO = hashlib.md5(b"hello", usedforsecurity=False).hexdigest()


def order(source: Collection, destination: Collection, *names: str, **options: Any) -> globus_sdk.TransferData:
    """A transfer of these files to the same names."""
    data = globus_sdk.TransferData(source.id, destination.id, **options)
    for name in names:
        data.add_item(f"/{name}", f"/{name}", recursive=False)
    return data


def moved(transfer: Client, task: str) -> list[tuple[str, int, str | None]]:
    """The evidence: path, size, checksum."""
    found = transfer.paginated.task_successful_transfers(task).items()
    return [(one["destination_path"], one["size"], one["checksum"]) for one in found]


def codes(transfer: Client, task: str) -> list[str]:
    """What happened, oldest first."""
    return [event["code"] for event in transfer.task_event_list(task, limit=100)][::-1]


def test_evidence_has_size_and_checksum_of_what_arrived(
    globus: Globus, source: Collection, destination: Collection, transfer: Client
) -> None:
    """With verify_checksum there is a checksum, without there is none; times are kept to the second where that is asked."""
    (source.base / "a").write_bytes(b"hello")
    os.utime(source.base / "a", (1_000_000_000.5, 1_000_000_000.5))
    for options, checksum, mtime in (
        ({"verify_checksum": True, "preserve_timestamp": True}, HELLO, 1e9),
        ({}, None, None),
    ):
        task = transfer.submit_transfer(order(source, destination, "a", **options))["task_id"]
        assert transfer.get_task(task)["nice_status"] == "Queued"
        assert globus.work() == 1
        assert (destination.base / "a").read_bytes() == b"hello"
        assert mtime in (None, (destination.base / "a").stat().st_mtime)
        assert moved(transfer, task) == [("/a", 5, checksum)]


def test_one_submission_id_is_one_task_whatever_is_sent_with_it(
    globus: Globus, source: Collection, destination: Collection, transfer: Client
) -> None:
    """Duplicate, with the first task's id, and the second body is not looked at."""
    (source.base / "a").write_bytes(b"hello")
    submission = transfer.get_submission_id()["value"]
    said = [
        transfer.submit_transfer(order(source, destination, name, submission_id=submission)).data for name in ("a", "b")
    ]
    assert [(one["code"], one["submission_id"]) for one in said] == [
        ("Accepted", submission),
        ("Duplicate", submission),
    ]
    assert {one["task_id"] for one in said} == set(globus.tasks.all)


@pytest.mark.parametrize(("overlap", "refused"), [("list", ["ab"]), ("item", ["ab", "a"])])
def test_identical_paths_are_refused_until_the_first_is_over(
    globus: Globus, source: Collection, destination: Collection, transfer: Client, overlap: str, refused: list[str]
) -> None:
    """409 while a transfer has these paths, and not afterwards."""
    globus.limits.overlap = overlap
    task = transfer.submit_transfer(order(source, destination, "a", "b"))["task_id"]
    met = []
    for names in ("ab", "a"):
        try:
            transfer.cancel_task(transfer.submit_transfer(order(source, destination, *names))["task_id"])
        except globus_sdk.TransferAPIError as error:
            met.append((names, error.http_status, error.code))
    assert met == [(names, 409, "Conflict") for names in refused]
    transfer.cancel_task(task)
    assert transfer.submit_transfer(order(source, destination, "a", "b"))["code"] == "Accepted"


@pytest.mark.parametrize(
    "wrong",
    [
        {"label": "x" * 129}, {"label": " x"}, {"label": "a\nb"}, {"sync_level": 4}, {"deadline": "yesterday"},
        {"deadline": "2020-01-01"}, {"submission_id": None}, {"submission_id": "1"}, {"colour": "red"}, {"DATA": []},
        {"DATA": [{"DATA_TYPE": "transfer_item", "source_path": "a", "destination_path": "/a"}]},
        {"DATA": [{"DATA_TYPE": "transfer_item", "source_path": "/a\r", "destination_path": "/a"}]},
        {"DATA": [{"DATA_TYPE": "transfer_item", "source_path": "/a"}]},
        {"DATA": [{"DATA_TYPE": "transfer_item", "source_path": "/a", "destination_path": "/a", "external_checksum": 1}]},
    ],
)  # fmt: skip
def test_a_wrong_request_is_refused_and_makes_no_task(
    globus: Globus, source: Collection, destination: Collection, transfer: Client, wrong: dict[str, Any]
) -> None:
    """400, with what is wrong."""
    with pytest.raises(globus_sdk.TransferAPIError) as caught:
        transfer.post("/v0.10/transfer", data={**order(source, destination, "a"), "submission_id": source.id, **wrong})
    assert (caught.value.http_status, globus.tasks.all) == (400, {})


def test_three_run_and_a_hundred_wait(
    globus: Globus, source: Collection, destination: Collection, transfer: Client
) -> None:
    """The fourth is queued while three cannot go on; the hundred and first is refused."""
    for number in range(100):
        transfer.submit_transfer(order(source, destination, f"gone{number}"))
    with pytest.raises(globus_sdk.TransferAPIError) as caught:
        transfer.submit_transfer(order(source, destination, "another"))
    assert (caught.value.http_status, caught.value.code) == (409, "TooManyPendingJobs")
    globus.work()
    listed = transfer.task_list(limit=1000, orderby="request_time ASC", query_params={"fields": "nice_status"})
    assert [one["nice_status"] for one in listed].count("FILE_NOT_FOUND") == 3
    assert [one["nice_status"] for one in listed].count("Queued") == 97


def test_good_files_of_a_task_arrive_though_one_is_missing(
    globus: Globus, source: Collection, destination: Collection, transfer: Client
) -> None:
    """It stays ACTIVE and says why; when the file is there it ends; else at its deadline."""
    (source.base / "a").write_bytes(b"hello")
    task = transfer.submit_transfer(order(source, destination, "gone", "a"))["task_id"]
    assert [globus.work(), globus.work()] == [1, 0]
    now = transfer.get_task(task)
    assert {key: now[key] for key in ("status", "nice_status", "is_ok", "faults", "subtasks_retrying", "files_transferred")} == {
        "status": "ACTIVE", "nice_status": "FILE_NOT_FOUND", "is_ok": False, "faults": 2, "subtasks_retrying": 1,
        "files_transferred": 1,
    }  # fmt: skip
    assert moved(transfer, task) == []
    (source.base / "gone").write_bytes(b"back")
    assert globus.work() == 1
    assert codes(transfer, task) == ["STARTED", "FILE_NOT_FOUND", "FILE_NOT_FOUND", "SUCCEEDED"]
    assert [one[0] for one in moved(transfer, task)] == ["/a", "/gone"]


def test_a_deadline_ends_a_task(globus: Globus, source: Collection, destination: Collection, transfer: Client) -> None:
    """FAILED, with EXPIRED, a day after it was asked for."""
    task = transfer.submit_transfer(order(source, destination, "gone"))["task_id"]
    globus.work()
    globus.clock.advance(86_000)
    assert transfer.get_task(task)["status"] == "ACTIVE"
    globus.clock.advance(1_000)
    ended = transfer.get_task(task)
    assert (ended["status"], ended["fatal_error"]["code"], ended["nice_status"]) == ("FAILED", "EXPIRED", None)


def test_an_external_checksum_that_is_wrong_fails_the_whole_task(
    globus: Globus, source: Collection, destination: Collection, transfer: Client
) -> None:
    """EXTERNAL_CHECKSUM_MISMATCH; a right one of an algorithm that both sides have is evidence."""
    (source.base / "a").write_bytes(b"hello")
    right, wrong = hashlib.sha256(b"hello").hexdigest(), "0" * 64
    ends = []
    for checksum in (right, wrong):
        data = globus_sdk.TransferData(source.id, destination.id)
        data.add_item("/a", "/a", external_checksum=checksum, checksum_algorithm="SHA256")
        data.add_item("/a", "/b")
        task = transfer.submit_transfer(data)["task_id"]
        globus.work()
        shown = transfer.get_task(task)
        ends.append((shown["status"], (shown["fatal_error"] or {}).get("code"), moved(transfer, task)))
    assert ends == [
        ("SUCCEEDED", None, [("/a", 5, right), ("/b", 5, None)]), ("FAILED", "EXTERNAL_CHECKSUM_MISMATCH", []),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("level", "travels"),
    [(None, "same older newer size content missing"), (0, "missing"), (1, "size missing"), (2, "newer size missing"),
     (3, "size content missing")],
)  # fmt: skip
def test_sync_levels(
    globus: Globus, source: Collection, destination: Collection, transfer: Client, level: int | None, travels: str
) -> None:
    """Which files travel, and that those that do not are in no list of evidence."""
    there = {"same": b"data", "older": b"data", "newer": b"data", "size": b"d", "content": b"DATA"}
    for name in (*there, "missing"):
        (source.base / name).write_bytes(b"data")
        os.utime(source.base / name, (2e9 if name == "newer" else 1e9,) * 2)
    for name, content in there.items():
        (destination.base / name).write_bytes(content)
        os.utime(destination.base / name, (1.5e9,) * 2)
    task = transfer.submit_transfer(order(source, destination, *there, "missing", sync_level=level))["task_id"]
    globus.work()
    assert " ".join(one[0][1:] for one in moved(transfer, task)) == travels
    assert transfer.get_task(task)["files_skipped"] == 6 - len(travels.split())


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege on Windows, and Wine makes none")
def test_a_directory_travels_whole(
    globus: Globus, source: Collection, destination: Collection, transfer: Client
) -> None:
    """Empty directories too, links not, and what the filter leaves out neither."""
    (source.base / "run/empty").mkdir(parents=True)
    (source.base / "run/a.h5").write_bytes(b"hello")
    (source.base / "run/b.tmp").write_bytes(b"hello")
    (source.base / "run/link").symlink_to("a.h5")
    data = globus_sdk.TransferData(source.id, destination.id)
    data.add_item("/run/", "/to/")
    data.add_filter_rule("*.tmp", method="exclude", type="file")
    transfer.submit_transfer(data)
    globus.work()
    assert sorted(one.relative_to(destination.base).as_posix() for one in destination.base.rglob("*")) == [
        "to",
        "to/a.h5",
        "to/empty",
    ]


def test_half_a_file_stands_under_its_final_name_while_it_travels(
    globus: Globus, source: Collection, destination: Collection, transfer: Client
) -> None:
    """As GridFTP writes: nobody but the task's state tells that it is not whole."""
    (source.base / "a").write_bytes(b"hello!")
    globus.faults.hold("/a")
    task = transfer.submit_transfer(order(source, destination, "a"))["task_id"]
    globus.work()
    assert ((destination.base / "a").read_bytes(), transfer.get_task(task)["nice_status"]) == (b"hel", "OK")
    globus.faults.clear()
    globus.work()
    assert ((destination.base / "a").read_bytes(), transfer.get_task(task)["status"]) == (b"hello!", "SUCCEEDED")


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege on Windows, and Wine makes none")
def test_a_path_leads_nowhere_out_of_its_collection(
    globus: Globus, source: Collection, destination: Collection, transfer: Client
) -> None:
    """Neither by .. nor by a link."""
    (source.base / "out").symlink_to(source.base.parent)
    (source.base.parent / "secret").write_bytes(b"secret")
    task = transfer.submit_transfer(order(source, destination, "out/secret", "../secret"))["task_id"]
    globus.work()
    assert codes(transfer, task) == ["STARTED", "PERMISSION_DENIED", "FILE_NOT_FOUND"]
    assert list(destination.base.iterdir()) == []


def test_tasks_are_found_by_id_label_status_and_time(
    globus: Globus, source: Collection, destination: Collection, transfer: Client
) -> None:
    """The filter of task_list, with only the fields that were asked for."""
    ids = []
    for label in ("run 1", "run 2", "else"):
        ids.append(transfer.submit_transfer(order(source, destination, label, label=label))["task_id"])
        globus.clock.advance(3600)
    transfer.cancel_task(ids[1])

    def found(**clauses: Any) -> list[int]:
        listed = transfer.task_list(filter=clauses, query_params={"fields": "task_id"})
        return [ids.index(one["task_id"]) for one in listed if one.keys() == {"task_id"}]

    assert found(task_id=ids[:2]) == [1, 0]
    assert found(status=["ACTIVE", "INACTIVE"]) == [2, 0]
    assert (found(label="=run 1"), found(label="~RUN*"), found(label="!~run*")) == ([0], [1, 0], [2])
    middle = globus.tasks.all[ids[1]].document(0)["request_time"]
    assert found(request_time=[middle, ""]) == [2, 1]
    assert found(type="DELETE") == []


def test_evidence_comes_in_pages(globus: Globus, source: Collection, destination: Collection, transfer: Client) -> None:
    """Each file once, in as many requests as there are pages; after thirty days nothing is left."""
    globus.limits.page = 4
    names = [f"{number:02}" for number in range(10)]
    for name in names:
        (source.base / name).write_text(name)
    task = transfer.submit_transfer(order(source, destination, *names))["task_id"]
    assert [globus.work(files=7), transfer.get_task(task)["status"], globus.work()] == [7, "ACTIVE", 3]
    assert [one[0] for one in moved(transfer, task)] == [f"/{name}" for name in names]
    assert globus.count("GET", "*/successful_transfers") == 3
    globus.clock.advance(31 * 86_400)
    transfer.retry_config.max_retries = 1  # for a new token
    assert (moved(transfer, task), transfer.get_task(task)["history_deleted"]) == ([], True)


def test_changing_a_task(globus: Globus, source: Collection, destination: Collection, transfer: Client) -> None:
    """Label and deadline of one that is not over."""
    task = transfer.submit_transfer(order(source, destination, "gone"))["task_id"]
    transfer.update_task(task, {"label": "new", "deadline": "2100-01-01T00:00:00+00:00"})
    shown = transfer.get_task(task)
    assert (shown["label"], shown["deadline"]) == ("new", "2100-01-01T00:00:00+00:00")
    assert transfer.cancel_task(task)["code"] == "Canceled"
    assert transfer.cancel_task(task)["code"] == "TaskComplete"
    with pytest.raises(globus_sdk.TransferAPIError):
        transfer.update_task(task, {"label": "newer"})


def test_deleting(globus: Globus, source: Collection, transfer: Client) -> None:
    """What is missing is fatal, unless it is to be ignored."""
    (source.base / "a").write_bytes(b"hello")
    ends = []
    for ignore in (False, True):
        data = globus_sdk.DeleteData(source.id, ignore_missing=ignore)
        data.add_item("/gone")
        data.add_item("/a")
        task = transfer.submit_delete(data)["task_id"]
        globus.work()
        ends.append((transfer.get_task(task)["status"], (source.base / "a").exists()))
    assert ends == [("FAILED", True), ("SUCCEEDED", False)]


def test_a_task_is_its_owners_alone(
    globus: Globus, source: Collection, destination: Collection, transfer: Client
) -> None:
    """Another identity neither sees nor cancels it."""
    task = transfer.submit_transfer(order(source, destination, "a"))["task_id"]
    other = globus.auth.directory.account()
    auth = globus_sdk.ConfidentialAppAuthClient(other.id, str(other.secret))
    scope = globus_sdk.scopes.TransferScopes.all
    with auth, Client(authorizer=globus_sdk.ClientCredentialsAuthorizer(auth, scope)) as unauthenticated:
        assert unauthenticated.task_list().data["total"] == 0
        with pytest.raises(globus_sdk.TransferAPIError) as caught:
            unauthenticated.cancel_task(task)
    assert (caught.value.http_status, transfer.get_task(task)["status"]) == (404, "ACTIVE")
