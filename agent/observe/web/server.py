"""The pages' server: a few threads, and one request a connection."""

import ipaddress
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import cast

from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser
from waitress.server import BaseWSGIServer, create_server
from waitress.task import ErrorTask
from waitress.trigger import trigger

from agent.errors import CannotListen, cause
from agent.observe.status import Health
from agent.observe.web import HEADERS, Pool, Site, Sources
from agent.observe.web.authenticator import Authenticator

_HEAD_AT_MOST, _BODY_AT_MOST = 16 * 1024, 1024
"""Bytes of a request. Only GET is answered, so a body is an error, and must not fill the disk before it is one."""
_THREADS = 6
_REQUEST_WITHIN, _SILENCE, _LONGEST = 10, 30, 300
"""Seconds: a connection without a whole request by then is closed, one on which nothing moves, and any other."""
_ANSWERED_WITHIN = 0.5
_IDLE_AT_MOST = 80
"""Connections that wait for their client, to send or to read. Beyond, the client with most of them loses its oldest."""
_CONNECTIONS_AT_MOST = 400


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

    def add_channel(self, map: "Mapping[int, socket.socket] | None" = None) -> None:
        """It is open now."""
        super().add_channel(map)
        idle = [one for one in _connections(self.server) if one is not self and not one.requests]
        if len(idle) > _IDLE_AT_MOST:
            of = Counter(_client(one) for one in idle)
            most = max(of.values())
            next(one for one in idle if of[_client(one)] == most).handle_close()

    def readable(self) -> bool:
        """Whether more is wanted of it. Asked for each connection, about once a second."""
        at_most = _LONGEST if self.total_outbufs_len else _REQUEST_WITHIN
        if not self.requests and time.time() - self.creation_time > at_most:
            self.will_close = True  # it drips
        return bool(super().readable())


def _client(connection: HTTPChannel) -> object:
    """The address that it comes from."""
    return connection.addr[0] if connection.addr else None


def _connections(server: BaseWSGIServer) -> "list[_Connection]":
    """Those that are open, the oldest first. In the thread that serves."""
    return list(cast("dict[int, _Connection]", server.active_channels).values())


class Server:
    """The site, served by a few threads: a slow answer does not hold up the others."""

    def __init__(
        self, make: Callable[[], Sources], health: Callable[[], Health], listen: str, token: str | None,
        hosts: Sequence[str], former: "Server | None" = None,
    ) -> None:  # fmt: skip
        """Bind `listen`, where settings have checked that beyond loopback there is a token.

        `make`: connects to the ledger, from any thread. `health` needs no ledger. `former`: serves until it is closed,
        maybe at the same port of another address.

        Raises CannotListen where the address is in use.
        """
        self.listen = listen
        host, _, port = listen.rpartition(":")
        address = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host.strip("[]"))
        self._beyond = not address.is_loopback
        bound = socket.socket(socket.AF_INET6 if address.version == 6 else socket.AF_INET, socket.SOCK_STREAM)
        shared = [] if former is None else [bound, former._socket]
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if address.version == 6:
                bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(not address.is_unspecified))
            for one in shared:  # two addresses may share a port, where one includes the other
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            bound.bind((str(address), int(port)))
            bound.listen()
        except OSError as error:
            bound.close()
            hint = "another agent may run; choose another port in [agent] listen, 0 for any free one"
            raise CannotListen(f"the status page cannot listen on {listen}: {cause(error)}", hint) from error
        finally:
            for one in shared:
                if one.fileno() >= 0:
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 0)
        self.url = f"http://{host}:{bound.getsockname()[1]}/"
        self._socket: socket.socket = bound
        self.site = Site(Pool(make), health, Authenticator(hosts, token, beyond=self._beyond))
        server = create_server(
            self.site, sockets=[bound], threads=_THREADS, ident=None,
            max_request_header_size=_HEAD_AT_MOST, max_request_body_size=_BODY_AT_MOST, channel_timeout=_SILENCE,
            log_socket_errors=False, connection_limit=_CONNECTIONS_AT_MOST, asyncore_use_poll=True,
        )  # fmt: skip
        assert isinstance(server, BaseWSGIServer), "it has one socket"
        self._server = server
        self._server.channel_class = _Connection
        self._thread = threading.Thread(target=self._server.run, name="web", daemon=True)

    def start(self) -> None:
        """Serve, in a thread."""
        self._thread.start()

    def show(
        self, make: Callable[[], Sources], health: Callable[[], Health], token: str | None, hosts: Sequence[str]
    ) -> None:
        """Show something else from now on, at the same address, and maybe to others."""
        self.site.show(Pool(make), health, Authenticator(hosts, token, beyond=self._beyond))

    @property
    def alive(self) -> bool:
        """Whether it serves."""
        return self._thread.is_alive()

    def close(self) -> None:
        """Stop serving. Answers that are on their way have a moment to arrive."""
        deadline = time.monotonic() + _ANSWERED_WITHIN
        while time.monotonic() < deadline and any(
            one.requests or one.total_outbufs_len for one in _connections(self._server)
        ):
            time.sleep(0.02)
        if self._thread.is_alive():
            cast("trigger", self._server.trigger).pull_trigger(self._close_connections)
            self._thread.join(2.0)
        else:
            self._server.close()
        self._server.task_dispatcher.shutdown(timeout=1)
        self.site.close()
        self._socket.close()

    def _close_connections(self, _: None = None) -> None:
        """In the thread that serves, which ends when nothing is open any more: a select on what others close never returns."""
        for connection in _connections(self._server):
            connection.handle_close()
        self._server.close()
