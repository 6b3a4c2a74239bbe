"""What a rule does once a batch is verified, written down while that becomes true."""

import json
from collections.abc import Mapping
from typing import Any

from agent.ledger import Ledger
from rules.actions import Action, Flow, Share
from rules.actions.event import Batch, at_collection, event, flow_input, folders
from rules.rule import Rule


def enqueue(ledger: Ledger, rules: Mapping[str, Rule], number: int, host: str, now: float) -> bool:
    """Enter what is to be done for a batch, frozen. Returns whether there is anything. Inside the transaction that verifies it.

    Nothing is to be done where every file was refused, or has become another version: a later batch brings them.
    """
    of_rules = {rule.name: rule.actions for rule in rules.values() if rule.actions}
    if not of_rules:
        return False
    batch = ledger.outbox.batch(number, host, now)
    actions = of_rules.get(batch.rule, {}) if batch.items else {}
    made = [((batch.rule, name), _payload(batch, name, action)) for name, action in actions.items()]
    calls = [(key, batch.number, json.dumps(payload).encode()) for key, payload in made if payload is not None]
    ledger.outbox.enqueued(calls, now)
    return bool(calls)


def _payload(batch: Batch, name: str, action: Action) -> Any:
    """What the action will be given; None: there is nothing for it to do."""
    match action:
        case Share():
            places = {to: at_collection(address) for to, address in batch.addresses.items()}
            shared: dict[str, list[str]] = {}
            for to, place in places.items():
                if place is not None:
                    shared.setdefault(place[0], []).extend(folders(batch, to))
            return shared or None
        case Flow():
            made = flow_input(action.body, batch, name)
            return {"tag": f"{batch.id}/{name}", "label": f"{batch.rule} {batch.id}"[:64], "body": made}
        case _:
            return event(batch, name)
