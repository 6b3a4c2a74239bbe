"""Between which collections files go, and how local paths and paths there belong together."""

from dataclasses import dataclass, replace

from globus_sdk import GlobusSDKUsageError, LocalGlobusConnectPersonal

from agent.destinations import Item
from rules.globus.collection import joined, source_path


def local_collection() -> str | None:
    """The collection of this computer's Globus Connect Personal, of this user; None where there is none."""
    try:
        return LocalGlobusConnectPersonal().endpoint_id
    except (OSError, GlobusSDKUsageError):
        return None  # no home, or a folder that is not ours: as good as none


@dataclass(frozen=True, slots=True)
class CollectionPath:
    """Between which collections, and how."""

    source: str
    source_root: str
    """The local directory that the source collection shows ..."""
    source_path: str
    """... as this."""
    collection: str
    path: str
    verify_checksum: bool = True
    encrypt_data: bool = False
    deadline: float | None = None
    """Seconds after which a task is given up; None: the service's own rules."""
    notify: tuple[str, ...] = ()
    """Of what Globus sends mail: `succeeded`, `failed`, `inactive`."""
    checksum: str | None = None
    """Algorithm of a checksum that the agent makes itself and the service compares with; None: the service's own."""

    @property
    def address(self) -> str:
        """What the ledger knows the destination by."""
        return f"{self.collection}:{self.path}"

    def local(self, item: Item) -> str | None:
        """The path at the source collection; None where it does not show the file."""
        return source_path(f"{item.root.rstrip('/')}/{item.relpath}", self.source_root, self.source_path)

    def there(self, path: str) -> str:
        """The path at the destination collection of one relative to the destination."""
        return joined(self.path, path)

    def back(self, folder: str) -> "CollectionPath | None":
        """The other way: from the destination into a local directory; None where the source collection does not show that.

        Its items have the path at the destination's collection as their root.
        """
        shown = source_path(folder, self.source_root, self.source_path)
        if shown is None:
            return None
        return replace(
            self, source=self.collection, source_root="/", source_path="/", collection=self.source, path=shown
        )
