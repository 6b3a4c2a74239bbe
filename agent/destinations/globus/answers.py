"""Answers of the service, with an end: neither their size nor their slowness is bounded by the SDK."""

import time
from typing import Any

import requests
from requests.adapters import HTTPAdapter

AT_MOST = 64 * 2**20
"""Bytes, unpacked. A page of 1,000 events is about 1 MB."""
LONGEST = 120.0
"""Seconds for the whole of an answer, however steadily it drips."""
_BLOCK = 2**16


class Bounded(HTTPAdapter):
    """Reads answers whole, or gives up."""

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        """Send a request. Raises requests' ConnectionError where the answer is too large, or takes too long."""
        until = time.monotonic() + LONGEST
        response = super().send(request, *args, **(options | {"stream": True}))
        parts: list[bytes] = []
        held = 0
        for part in response.iter_content(_BLOCK):
            held += len(part)
            if held > AT_MOST or time.monotonic() > until:
                response.close()
                why = f"is larger than {AT_MOST // 2**20} MiB" if held > AT_MOST else f"takes more than {LONGEST:.0f} s"
                raise requests.ConnectionError(f"the answer {why}")
            parts.append(part)
        response._content = b"".join(parts)  # what `Response.content` would read, and keep
        return response
