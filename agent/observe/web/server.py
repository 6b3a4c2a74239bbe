"""The pages' server: a few threads, and one request a connection."""

import ipaddress
import socket
import threading
import time
from collections.abc import Callable, Sequence

from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser
from waitress.server import BaseWSGIServer, create_server
from waitress.task import ErrorTask

from agent.errors import Refused, cause
from agent.observe.status import Health
from agent.observe.web import HEADERS, Pool, Site, Sources
from agent.observe.web.gate import Gate, token

_HEAD_AT_MOST, _BODY_AT_MOST = 16 * 1024, 1024
"""Bytes of a request. Only GET is answered, so a body is an error, and must not fill the disk before it is one."""
_THREADS = 6
_SILENCE, _LONGEST = 30, 300
"""Seconds: a connection on which nothing moves is closed, and any connection after so long."""


class _Request(HTTPRequestParser):
    def parse_header(self, header_plus: bytes) -> None:
        """Read the head of a request; whatever it says, its connection is closed after the answer."""
        super().parse_header(header_plus)
        self.headers = {**self.headers, "CONNECTION": "close"}


class _NoRequest(ErrorTask):
    """Answers what is no request."""

    def execute(self) -> None:
        """With the headers of every answer."""
        self.response_headers = [*self.response_headers, *HEADERS]
        super().execute()


class _Connection(HTTPChannel):
    """Answers one request, and drops what was sent after it.

    A thread that answers the second of several requests waits until somebody reads the first answer, for ever: a few such
    connections would take all threads.
    """

    parser_class = _Request
    error_task_class = _NoRequest

    def readable(self) -> bool:
        """Whether more is wanted of it. Asked for each connection, about once a second."""
        if not self.requests and time.time() - self.creation_time > _LONGEST:
            self.will_close = True  # it drips, and there is room for a hundred connections only
        return bool(super().readable())


class Server:
    """The site, served by a few threads: a slow answer does not hold up the others."""

    def __init__(
        self, make: Callable[[], Sources], health: Callable[[], Health], listen: str, token_file: str | None,
        hosts: Sequence[str],
    ) -> None:  # fmt: skip
        """Bind `listen`, where settings have checked that beyond loopback there is a token.

        `make`: connects to the ledger, from any thread. `health` needs no ledger.

        Raises Refused where the address is in use, and where the token cannot be had.
        """
        host, _, port = listen.rpartition(":")
        address = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host.strip("[]"))
        gate = Gate(hosts, None if token_file is None else token(token_file), beyond=not address.is_loopback)
        bound = socket.socket(socket.AF_INET6 if address.version == 6 else socket.AF_INET, socket.SOCK_STREAM)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if address.version == 6:
                bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(not address.is_unspecified))
            bound.bind((str(address), int(port)))
        except OSError as error:
            bound.close()
            hint = "another agent may run; choose another port in [agent] listen, 0 for any free one"
            raise Refused(f"the status page cannot listen on {listen}: {cause(error)}", hint) from error
        self.url = f"http://{host}:{bound.getsockname()[1]}/"
        self._socket = bound
        self._pool = Pool(make)
        self._server = create_server(
            Site(self._pool, health, gate), sockets=[bound], threads=_THREADS, ident=None,
            max_request_header_size=_HEAD_AT_MOST, max_request_body_size=_BODY_AT_MOST, channel_timeout=_SILENCE,
            log_socket_errors=False,
        )  # fmt: skip
        assert isinstance(self._server, BaseWSGIServer), "it has one socket"
        self._server.channel_class = _Connection
        self._thread = threading.Thread(target=self._server.run, name="web", daemon=True)

    def start(self) -> None:
        """Serve, in a thread."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether it serves."""
        return self._thread.is_alive()

    def close(self) -> None:
        """Stop serving."""
        self._server.close()
        self._thread.join(2.0)
        self._server.task_dispatcher.shutdown(timeout=1)
        self._pool.close()
        self._socket.close()
