"""Answers of the service, with bounds: neither their size nor their slowness is bounded by the SDK."""

import socket
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import NewConnectionError
from urllib3.util.ssl_ import create_urllib3_context

from agent.errors import cause
from agent.host import network

AT_MOST = 64 * 2**20
"""Bytes, unpacked. A page of 1,000 events is about 1 MB."""
LONGEST = 120.0
"""Seconds for the whole of an answer, however steadily it drips."""
_BLOCK = 2**16


class _Connection(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        try:
            return network.connect((self._dns_host, self.port or self.default_port))
        except OSError as error:
            raise NewConnectionError(self, cause(error)) from error


class _SecureConnection(_Connection, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


class Bounded(HTTPAdapter):
    """Reads answers whole, or gives up."""

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """Make connections of our own."""
        super().init_poolmanager(*args, ssl_context=network.secured(create_urllib3_context()), **options)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        """The same through a proxy, unless it is one of SOCKS, for which a library must be installed that has its own."""
        if proxy.lower().startswith("socks"):
            return super().proxy_manager_for(proxy, **options)
        secured = network.secured(create_urllib3_context())
        manager = super().proxy_manager_for(proxy, ssl_context=secured, **options)
        manager.pool_classes_by_scheme = self.poolmanager.pool_classes_by_scheme
        return manager

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        """Send a request. Raises requests' ConnectionError where the answer is too large, or takes too long."""
        with network.call(LONGEST, AT_MOST + network.AT_MOST, silence=options.get("timeout")):
            response = super().send(request, *args, **(options | {"stream": True}))
            parts: list[bytes] = []
            held = 0
            for part in response.iter_content(_BLOCK):
                held += len(part)
                if held > AT_MOST:  # what came may be packed, and few bytes then
                    response.close()
                    raise requests.ConnectionError(f"the answer is larger than {AT_MOST // 2**20} MiB")
                parts.append(part)
        response._content = b"".join(parts)  # what `Response.content` would read, and keep
        return response
