"""Scenes of the law of bulkheads: what people see of files, datasets, folders and findings."""

import re
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from prometheus_client import CollectorRegistry

from agent.app.parts import scrubber_of
from agent.observe.file_inspector import FileInspector
from agent.observe.status import Health, status
from agent.observe.web import Pool, Sources, words
from agent.observe.web import Site as Pages
from agent.observe.web.authenticator import Authenticator
from agent.observe.web.views import Views
from agent.observe.web.words import FILTERS
from tests.one_item import BAD
from tests.one_item.site import T0, Acting, Site

_ENDS = ("", f"-{BAD}")


def page(root: Path, patch: pytest.MonkeyPatch, acting: Acting) -> dict[str, Any]:
    """The front page, what is searched for, a folder, a dataset, a file, and the status as JSON: of files in all states."""
    share = {"path": str(root / "to-share"), "mounted": False, "scrub": {"per_day": "1TB", "every": "1h"}}
    rules: list[dict[str, Any]] = [
        {"name": "plain"},
        {"name": "sets", "dataset": {"dir": "[^/]+"}, "complete": {"quiet": "0s", "require": [{"marker": "../{name}.done"}]}},
    ]  # fmt: skip
    with Site(root, patch, rules, destinations={"share": share}) as site:
        folders = ("plain/well", "plain/mixed", f"plain/well-{BAD}")
        site.put(*(f"{folder}/{name}{end}.h5" for folder in folders for name in ("safe", "changed") for end in _ENDS))
        site.put(*(f"sets/{kind}{end}/1.h5" for kind in ("waits", "done") for end in _ENDS))
        site.put(*(f"sets/done{end}.done" for end in _ENDS))
        for end in _ENDS:
            taken = root / f"to-share/plain/mixed/taken{end}.h5"
            taken.parent.mkdir(parents=True, exist_ok=True)
            taken.write_bytes(b"another")
        site.put(*(f"plain/mixed/taken{end}.h5" for end in _ENDS))
        site.take_in(T0)
        site.deliver(T0)
        for end in _ENDS:
            (root / f"to-share/plain/mixed/changed{end}.h5").write_bytes(b"another")
            site.put(f"plain/mixed/new{end}.h5")
        site.passes(site.parts.scrubbers[scrubber_of("share")].step, T0 + 10_000, 2)
        places = [(name, table.address) for name, table in site.config.settings.destinations.items()]

        def state() -> dict[str, Any]:
            return status(site.ledger, site.config.rules, places, site.config.scrubs, {})

        patch.setattr("agent.host.asking.Asker.ask", lambda _, place, question: question())  # in this thread
        views = Views(
            site.ledger, site.config.rules, places, site.parts.intake.roots, state, lambda: Health([]), lambda: T0, "",
            FileInspector(lambda: T0, [str(site.data)]),
        )  # fmt: skip
        asked = ["/", "/?q=changed", "/status.json", f"/file?path={quote(str(site.data / 'plain/mixed/changed.h5'))}"]
        rows = site.ledger.execute("SELECT id FROM summaries ORDER BY id").fetchall()
        named = {number: site.ledger.summaries.get(number) for (number,) in rows}
        asked += [f"/of?id={number}" for number, one in named.items() if one is not None and BAD not in one.name]
        # Filters are looked up when they are called: else what is made to raise is not what the templates have.
        filters = {name: partial(_filter, name) for name in FILTERS}
        patch.setattr("agent.observe.web.FILTERS", filters)
        with acting():
            pages = Pages(
                Pool(lambda: Sources(views, state, CollectorRegistry(), lambda: None)),
                lambda: Health([]), Authenticator((), None, beyond=False),
            )  # fmt: skip
            shown = {path: _shown(pages, path) for path in asked}
        found = {path: (answer, [row.replace(str(root), "") for row in rows]) for path, (answer, rows) in shown.items()}
        return {"trouble": site.trouble, **{path.replace(str(root), ""): one for path, one in found.items()}}


def _filter(name: str, *values: Any) -> Any:
    return getattr(words, name)(*values)


def _shown(pages: Pages, address: str) -> tuple[str, list[str]]:
    """The status of an answer, and the parts of the page that are not about bad items."""
    path, _, query = address.partition("?")
    answers: list[str] = []
    environ = {
        "REQUEST_METHOD": "GET", "PATH_INFO": path, "QUERY_STRING": query, "HTTP_HOST": "localhost", "REMOTE_ADDR": "127.0.0.1",
    }  # fmt: skip
    (body,) = pages(environ, lambda status, headers: answers.append(status))
    # Rows alone: what a person must do about several files has the number of them, and the reason of the first.
    rows = re.findall(r'<tr id=.*?</tr>|\{"destination": [^{}]*"copy"[^{}]*\}|\{"name": [^{}]*\}', body.decode(), re.S)
    return answers[0], [row for row in rows if BAD not in row]


SCENES = {"page": page}
