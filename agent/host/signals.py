"""Signals: stop within a bound, whatever hangs, and reload."""

import logging
import os
import signal
import socket
import threading
import time
from typing import Final

from agent.host import supervisor

STOP_AT_MOST = 9.5
"""Seconds from the signal to the end of the process. What has not ended by then is done again by the next run, as after a crash."""
_STOP: Final = (signal.SIGTERM, signal.SIGINT, *filter(None, [getattr(signal, "SIGBREAK", None)]))
"""Ctrl-Break, and the closing of a console window, are SIGBREAK."""
_HANG_UP: Final = getattr(signal, "SIGHUP", None)
"""Windows has none: there an edit of the configuration reloads it."""

log = logging.getLogger(__name__)


class Signals:
    """SIGTERM and SIGINT stop; SIGHUP reloads, except where it says that the terminal went away."""

    def __init__(self, unfinished: int = 0) -> None:
        """`unfinished`: the exit status of a process that had to be ended because something hangs."""
        self.changed = threading.Event()
        self.stop = False
        self.reload = False
        self._unfinished = unfinished
        self._shown: list[int] = []
        """Descriptors that lead to the terminal."""

    def install(self) -> None:
        """From the main thread."""
        ends: tuple[int, ...] = _STOP
        for number in _STOP:
            signal.signal(number, self._on_stop)
        if _HANG_UP is not None:
            at_terminal = signal.getsignal(_HANG_UP) is not signal.SIG_IGN and _has_terminal()  # nohup ignores it
            signal.signal(_HANG_UP, self._on_hang_up if at_terminal else self._on_reload)
            ends = (*_STOP, _HANG_UP) if at_terminal else _STOP
        self._shown = [fd for fd in (1, 2) if os.isatty(fd)]
        # The handlers above run in the main thread, between two of its steps: not while it waits for a share that hangs.
        # The number of a signal is written to this socket at once.
        received, sender = socket.socketpair()
        sender.setblocking(False)
        signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
        threading.Thread(target=self._end_in_time, args=(received, sender, ends), name="stop", daemon=True).start()

    def _on_stop(self, number: int, frame: object) -> None:
        self.stop = True
        self.changed.set()

    def _on_hang_up(self, number: int, frame: object) -> None:
        nowhere = os.open(os.devnull, os.O_WRONLY)  # what is still printed would fail, and be the reason of the end
        for fd in self._shown:
            os.dup2(nowhere, fd)
        os.close(nowhere)
        self._on_stop(number, frame)

    def _on_reload(self, number: int, frame: object) -> None:
        self.reload = True
        self.changed.set()

    def _end_in_time(self, received: socket.socket, sender: socket.socket, ends: tuple[int, ...]) -> None:
        """`sender` is kept open as long as signals are written to it."""
        while not any(number in ends for number in received.recv(64)):
            pass
        time.sleep(STOP_AT_MOST)
        log.warning("something hangs, and is left behind after %g s: the next run does it again", STOP_AT_MOST)
        logging.shutdown()
        supervisor.ended(self._unfinished)
        os._exit(self._unfinished)


def _has_terminal() -> bool:
    """Whether this process has a controlling terminal, which hangs up when its window is closed."""
    try:
        os.close(os.open(os.ctermid(), os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True
