"""Chat systems, by the incoming webhooks that Slack, Mattermost and others offer: a POST of {"text": ...}."""

import json
from dataclasses import dataclass

from agent.actions.webhook import deliver
from agent.errors import Refused
from agent.host import secrets as secret
from rules.actions import Webhook, web_address
from rules.notice.message import Message, in_chat


@dataclass(frozen=True, slots=True)
class Chat:
    """An incoming webhook: one of the two. The address is a secret: knowing it is enough to write there."""

    url: str | None = None
    url_file: str | None = None
    timeout: float = 20.0
    """Seconds for all of it."""

    @property
    def shown(self) -> str:
        """For people and logs."""
        return f"the address in {self.url_file}" if self.url is None else Webhook(self.url).shown

    def send(self, message: Message, key: str) -> None:
        """Post it; only an answer of 2xx is success. `key`: in a header, for receivers of one's own. Raises Transient, Refused."""
        url = self._url()
        body = json.dumps({"text": in_chat(message)}).encode()
        headers = {"Content-Type": "application/json; charset=utf-8", "X-Dropline-Notice": key}
        deliver(url, body, headers, self.timeout, Webhook(url).shown)

    def _url(self) -> str:
        if self.url is not None:
            return self.url
        assert self.url_file is not None, "rules.config.notify checks it"
        url = secret.read(self.url_file)
        try:
            web_address(url)
        except ValueError:
            raise Refused(
                f"what is in {self.url_file} is no address", "write one line such as https://example.org/hooks/..."
            ) from None
        return url
