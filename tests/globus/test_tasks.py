"""Transfers through the unmodified SDK: what is accepted, what happens to real files, and what tells of it."""

import globus_sdk

from tests.globus import Collection, Globus


def order(source: Collection, destination: Collection, *names: str, **options: object) -> dict[str, object]:
    """A transfer of these files to the same names."""
    data = globus_sdk.TransferData(source.id, destination.id, **options)  # type: ignore[arg-type]
    for name in names:
        data.add_item(f"/{name}", f"/{name}", recursive=False)
    return data


def test_a_transfer_moves_files_and_says_which(
    globus: Globus, source: Collection, destination: Collection, transfer: globus_sdk.TransferClient
) -> None:
    """The bytes arrive, and successful_transfers has size and checksum of each file."""
    (source.base / "a").write_bytes(b"hello")
    task = transfer.submit_transfer(order(source, destination, "a", verify_checksum=True))["task_id"]
    assert transfer.get_task(task)["nice_status"] == "Queued"
    assert globus.work() == 1
    assert (destination.base / "a").read_bytes() == b"hello"
    assert transfer.get_task(task)["status"] == "SUCCEEDED"
    assert list(transfer.paginated.task_successful_transfers(task).items()) == [
        {
            "DATA_TYPE": "successful_transfer", "source_path": "/a", "destination_path": "/a", "size": 5,
            "checksum": "5d41402abc4b2a76b9719d911017c592", "checksum_algorithm": "MD5", "dynamic": False,
        }
    ]  # fmt: skip
