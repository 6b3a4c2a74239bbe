"""What people write in an afternoon: copy each file to the share when it is closed. For comparison; do not use it."""

import shutil
import sys
import threading
from pathlib import Path

from watchdog.events import FileClosedEvent, FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer


class Copy(FileSystemEventHandler):
    """Copies under the final name at once: no check, no memory, no second try."""

    def __init__(self, source: Path, share: Path) -> None:
        self.source, self.share = source, share

    def on_closed(self, event: FileSystemEvent) -> None:
        """A file that was open for writing was closed."""
        if isinstance(event, FileClosedEvent):
            path = Path(str(event.src_path))
            target = self.share / path.relative_to(self.source)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target)


if __name__ == "__main__":
    observer = Observer()
    observer.schedule(Copy(Path(sys.argv[1]), Path(sys.argv[2])), sys.argv[1], recursive=True)
    observer.start()
    threading.Event().wait()
