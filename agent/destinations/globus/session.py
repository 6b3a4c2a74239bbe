"""Globus, as one identity speaks to it: one request at a time, not too many, and every error translated once."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

from globus_sdk import (
    AuthAPIError,
    ClientApp,
    GlobusAPIError,
    GlobusApp,
    GlobusError,
    GlobusHTTPResponse,
    NetworkError,
    TransferClient,
)
from globus_sdk.gare import GlobusAuthorizationParameters, to_gare
from globus_sdk.token_storage import TokenValidationError

from agent.destinations.globus.login import Account, application, demand, patience, retries
from agent.errors import Refused, Transient, cause
from rules.globus.credentials import UNUSED_FOR

T = TypeVar("T")
A_SECOND = 12
"""Requests a second: the service takes 20 of a user, who may have other programs."""
ASK_AGAIN = 600.0
"""Seconds after which a login that Globus refused is tried once more, though nobody logged in."""
_WHEN_BUSY = 60.0
"""Seconds to wait where the service says "too many" and not for how long."""
LONGEST_TEXT = 32_768
"""Letters of a text that is used: a path of 4,096 bytes has fewer."""
_LONGEST_WAIT = 3600.0
"""Seconds to wait at the most, whatever the service says; then it is asked once more."""

_ABOUT_A_NAME = (
    "File name too long",
    "Too many levels of symbolic links",
    "Invalid or incomplete multibyte",
    "Invalid argument",
)
"""The operating system's words of errors that concern one path; the service has no code for them."""

log = logging.getLogger(__name__)
logging.getLogger("globus_sdk").setLevel(logging.ERROR)  # its warnings repeat, each time, what is translated here


UNREADABLE = (GlobusError, ValueError, TypeError, AttributeError, LookupError, RecursionError)
"""What comes of reading an answer that is not what it should be, in the SDK or here, besides its errors."""


class Unanswered(Transient):
    """The service cannot be asked now, or wants to be left alone: any other question would fare the same."""


class Unreadable(Transient):
    """The answer is not what it should be. It says nothing of what was asked for."""


class NotThere(Transient):
    """Nothing is at that path, or under that id."""


class NotADirectory(Transient):
    """What is at that path cannot be listed."""


class Clash(Transient):
    """The service has something in the way: another task with the same paths, a name that exists."""


class Rejected(Transient):
    """The service does not take this request, however often it is sent."""


class Forbidden(Refused):
    """The identity may not do this there."""


class NoLogin(Refused):
    """There is no login, it does not count any more, or not for this."""


class Session:
    """Sends requests of one account. Any thread may ask; they take turns, for the SDK's application is not thread safe."""

    def __init__(
        self, account: Account, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], object] = time.sleep
    ) -> None:  # fmt: skip
        """`clock`: seconds that never jump; `sleep`: waits for so many."""
        self.account = account
        self._tokens = account.tokens
        self._clock = clock
        self._sleep = sleep
        self._turn = threading.Lock()
        self._app: GlobusApp | None = None
        self._client: TransferClient | None = None
        self._made_of: object = None
        """Signature of the token file that the client was made from."""
        self._sent: deque[float] = deque(maxlen=A_SECOND)
        self._closed_until = 0.0
        self._dead: tuple[Refused, object, float] | None = None
        """Why the login does not count any more, for which token file, and when to try it once more."""

    def ask(self, call: Callable[[TransferClient], T]) -> T:
        """Send one request. Raises Transient (its kinds above among them) and Refused."""
        with self._turn:
            self._open()
            client = self._ready()
            try:
                try:
                    return call(client)
                except GlobusAPIError as error:
                    if not self._consented(error):
                        raise
                    return call(self._ready())
            except OSError as error:  # of the line; the SDK has other errors
                raise Unanswered(f"the tokens in {self.account.folder} cannot be kept: {cause(error)}") from None
            except UNREADABLE as error:
                raise self._noted(self.translated(error)) from None  # the SDK's notes carry whole answers, with secrets

    def beside(self, call: Callable[[GlobusApp], T]) -> T:
        """Ask another of the services, with clients of the call's own. Raises Transient and Refused.

        A login that does not count there (NoLogin) stops nothing else.
        """
        with self._turn:
            self._open()
            try:
                with application(self.account) as app:
                    return call(app)
            except OSError as error:
                raise Transient(f"the tokens in {self.account.folder} cannot be kept: {cause(error)}") from None
            except UNREADABLE as error:
                raise self.translated(error) from None

    def expires_at(self) -> float | None:
        """When the login dies if it is not used, in seconds since the epoch; None where it does not."""
        used_at = self._tokens.used_at()
        return None if self.account.secret is not None or used_at is None else used_at + UNUSED_FOR

    def close(self) -> None:
        """Close the connections."""
        with self._turn:
            self._forget()

    def _forget(self) -> None:
        for one in (self._client, self._app):
            if one is not None:
                one.close()
        self._client = self._app = None

    def _open(self) -> None:
        """Wait for our turn in the rate. Raises Transient, Refused where asking is pointless now."""
        now = self._clock()
        if now < self._closed_until:
            left = self._closed_until - now
            raise Unanswered(f"Globus asked to wait, {left:.0f} s more", after=left)
        if self._dead is not None:
            refused, signature, until = self._dead
            if signature == self._tokens.signature() and now < until:
                raise refused
            self._dead = None
            self._forget()
        if len(self._sent) == A_SECOND and now - self._sent[0] < 1.0:
            self._sleep(1.0 - (now - self._sent[0]))
        self._sent.append(self._clock())

    def _ready(self) -> TransferClient:
        """The client, made again when somebody logged in. Raises Refused."""
        signature = self._tokens.signature()
        if self._client is None or signature != self._made_of:
            self._forget()
            self._app = application(self.account)
            try:
                self._client = TransferClient(app=self._app, transport=patience(), retry_config=retries())
            except GlobusError as error:
                raise self._noted(self.translated(error)) from None
            self._made_of = signature
        return self._client

    def _consented(self, error: GlobusAPIError) -> bool:
        """A service account consents by asking for a token with the scope; no person is needed."""
        needed = error.info.consent_required
        if not isinstance(self._app, ClientApp) or not needed or not needed.required_scopes:
            return False
        self._app.login(auth_params=GlobusAuthorizationParameters(required_scopes=list(needed.required_scopes)))
        self._made_of = self._tokens.signature()
        return True

    def translated(self, error: Exception) -> Transient | Refused:
        """An error of the SDK, in the agent's words."""
        if isinstance(error, TokenValidationError):
            return NoLogin("not logged in to Globus", self.account.hint)
        if isinstance(error, NetworkError):
            return Unanswered(f"Globus cannot be reached: {_cause(error)}")
        if not isinstance(error, GlobusAPIError):
            return Unreadable(f"Globus gave an answer that cannot be read: {type(error).__name__}")
        if isinstance(error, AuthAPIError) and error.http_status in (400, 401, 403):
            return self._no_login(error)
        try:
            required = to_gare(error)
        except UNREADABLE:
            required = None  # not what it should be: its status says enough
        if required is not None:
            try:
                demand(self.account, required.authorization_parameters)
            except OSError as problem:
                log.warning("what Globus demands cannot be kept for `dropline login`: %s", cause(problem))
            what = required.authorization_parameters.session_message or error.message or required.code
            return NoLogin(f"Globus wants another login: {_line(what)}", self.account.hint)
        if error.http_status == 401:
            return NoLogin("Globus does not accept the login any more", self.account.hint)
        return self._answer(error)

    def _no_login(self, error: AuthAPIError) -> NoLogin:
        raw = error.raw_json or {}
        code = str(raw.get("error") or error.code or error.message or error.http_status)
        if self.account.secret is not None:
            return NoLogin(
                f"Globus does not accept the service account ({_line(code)})",
                "check client_id and client_secret in [globus]",
            )
        return NoLogin(f"Globus does not accept the login any more ({_line(code)})", self.account.hint)

    def _noted(self, error: Transient | Refused) -> Transient | Refused:
        """A login that does not count is not tried with each request."""
        if isinstance(error, NoLogin):
            self._dead = error, self._tokens.signature(), self._clock() + ASK_AGAIN
        return error

    def _answer(self, error: GlobusAPIError) -> Transient | Refused:
        """The service was reached, and the login is good."""
        code = error.code if isinstance(error.code, str) else ""
        said = f"Globus says {error.http_status} {_line(code)}: {_line(error.message)}"
        after = self._closed(error)
        if error.http_status in (429, 503):
            return Unanswered(said, after=after)
        if error.http_status == 404 or code.endswith("NotFound"):
            return NotThere(said)
        if "PermissionDenied" in code or error.http_status == 403:
            return Forbidden(said, "ask for access to the collection, or share the folder in Globus Connect Personal")
        if code.endswith("NotDirectory") or (code == "EndpointError" and "Not a directory" in said):
            return NotADirectory(said)
        if code == "EndpointError" and any(words in said for words in _ABOUT_A_NAME):
            return Rejected(said)
        if "GCDisconnected" in code or "GCPaused" in code:
            return Transient(f"{said}; start Globus Connect Personal on the computer of that collection", after=after)
        if error.http_status == 409 or code.endswith("Exists"):
            return Clash(said)
        if error.http_status == 400:
            return Rejected(said)
        return Transient(said, after=after)

    def _closed(self, error: GlobusAPIError) -> float:
        """Seconds that the service asked to wait, an hour at the most; nothing is asked until then."""
        value = error.headers.get("Retry-After", "") if error.headers is not None else ""
        after = _WHEN_BUSY if error.http_status == 429 else 0.0
        if value.strip().isdecimal():
            after = float(value)
        elif value:
            try:
                after = max(parsedate_to_datetime(value).timestamp() - time.time(), 0.0)
            except (ValueError, TypeError, OverflowError):
                pass  # neither seconds nor a date of the calendar: as if it had not been said
        after = min(after, _LONGEST_WAIT)
        if after:
            self._closed_until = max(self._closed_until, self._clock() + after)
        return after


def document(response: GlobusHTTPResponse, *keys: str) -> dict[str, Any]:
    """The answer as a document that has these keys. Raises ValueError, which `Session.ask` translates: ask inside of it."""
    data = response.data
    if not isinstance(data, dict):
        raise ValueError("no such document")
    for key in keys:
        text(data.get(key))
    return data


def text(value: object) -> str:
    """A value that must be text. Raises ValueError, as `document`."""
    if not isinstance(value, str) or not value or len(value) > LONGEST_TEXT:
        raise ValueError("no such text")
    value.encode()  # half of a surrogate pair is no text, and nothing could keep it
    return value


def rows(response: GlobusHTTPResponse, *keys: str) -> list[dict[str, Any]]:
    """The entries of an answer that is a list, each with these keys. Raises ValueError, as `document`.

    An entry that is no document counts as one without any field: it is the trouble of that entry alone.
    """
    listed = document(response).get("DATA")
    if not isinstance(listed, list):
        raise ValueError("no such list")
    entries = [one if isinstance(one, dict) else {} for one in listed]
    for one in entries:
        for key in keys:
            text(one.get(key))
    return entries


def _cause(error: NetworkError) -> str:
    """The innermost cause, on one line."""
    found: BaseException = error.underlying_exception or error
    while found.__cause__ is not None or found.__context__ is not None:
        found = found.__cause__ or found.__context__ or found
    return _line(getattr(found, "strerror", None) or str(found) or type(found).__name__)


def _line(text: object) -> str:
    """Text of others, on one short line."""
    return " ".join(str(text).split())[:300]
