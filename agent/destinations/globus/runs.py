"""Runs of Globus Flows: started once, as far as can be seen.

The service has no submission ids for runs, so a run carries a tag by which it is found again.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

from globus_sdk import FlowsAPIError, FlowsClient, GlobusApp, SpecificFlowClient
from globus_sdk.scopes import FlowsScopes

from agent.destinations.globus.login import once, patience, retries
from agent.destinations.globus.session import Forbidden, NotThere, Rejected, Session, document
from agent.errors import Refused

_PAGES = 20
"""Pages of runs of the flow that are looked through."""


def start(session: Session, flow: str, request: Mapping[str, Any], *, perhaps: bool) -> str:
    """Start a run, unless there is one with its tag. Returns the run's id. Raises Transient, Refused.

    Args:
        session: speaks to the service.
        flow: its id.
        request: `body`, `label` and `tag`.
        perhaps: an earlier attempt may have started it.
    """
    try:
        found = session.beside(partial(_find, flow=flow, tag=request["tag"])) if perhaps else None
        return found or session.beside(partial(_run, flow=flow, request=request))
    except NotThere:
        raise Refused(f"there is no Globus Flow {flow}", "compare its id in the web application") from None
    except Forbidden as error:
        hint = "ask its owner to make the agent's identity a runnable-by of it, and log in again"
        raise Refused(f"the flow {flow} may not be started: {error.reason}", hint) from None
    except Rejected as error:
        raise Refused(f"the flow {flow} does not take its input: {error}", "mend `body` in the rule") from None


def _find(app: GlobusApp, flow: str, tag: str) -> str | None:
    scopes = [FlowsScopes.run_status]
    with FlowsClient(app=app, app_scopes=scopes, transport=patience(), retry_config=retries()) as client:
        marker: dict[str, Any] = {}
        for _ in range(_PAGES):
            page = document(client.list_runs(filter_flow_id=flow, query_params=marker))
            if not isinstance(page.get("runs"), list):
                raise ValueError("no such list")
            for run in page["runs"]:
                if tag in (run.get("tags") or ()):
                    return str(run["run_id"])
            if not page.get("has_next_page") or not page.get("marker"):
                break
            marker = {"marker": str(page["marker"])}
    return None


def _run(app: GlobusApp, flow: str, request: Mapping[str, Any]) -> str:
    with SpecificFlowClient(flow, app=app, transport=patience(), retry_config=once()) as client:
        try:
            answer = client.run_flow(dict(request["body"]), label=request["label"], tags=[request["tag"]])
        except FlowsAPIError as error:
            if error.http_status == 422:
                raise Rejected(f"Globus says 422 {error.code}: {error.message}") from None
            raise
        return str(document(answer, "run_id")["run_id"])
