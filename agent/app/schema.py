"""The JSON Schema of the configuration, for editors: made of the models that read it.

What it says of a key is what docs/RULES.md and docs/GLOBUS.md say; `descriptions.json` is taken from there, and a test
holds it to them. A file that the schema takes may still be refused by `dropline check`: what keys mean together is not
in it.
"""

import json
from collections.abc import Mapping
from typing import Any

from agent.app import presets
from agent.host import own_files
from rules.config.settings import Settings

_NUMERIC = ("exclusiveMinimum", "minimum", "maximum", "ge", "le", "gt")


def schema() -> dict[str, Any]:
    """The schema, as JSON Schema 2020-12."""
    meanings: dict[str, str] = json.loads(own_files.resource("agent.app", "descriptions.json"))
    made = Settings.model_json_schema(mode="validation")
    for name, table in made["$defs"].items():
        for key, field in table.get("properties", {}).items():
            if f"{name}.{key}" in meanings:  # a test sees to it that all are
                field["description"] = meanings[f"{name}.{key}"]
    rule = made["$defs"]["Rule"]
    rule["properties"]["preset"]["enum"] = presets.names()
    rule["required"].append("deliver")  # in the program a rule may be made without
    made["properties"]["destinations"]["additionalProperties"] = False  # other names are no names
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Dropline's configuration"}
    plain: dict[str, Any] = _plain(made)
    return head | {key: value for key, value in plain.items() if key != "description"}


def _plain(node: Any) -> Any:
    """Without what TOML cannot have (null) and nobody needs (titles); defaults as they are written."""
    if isinstance(node, list):
        return [_plain(inner) for inner in node]
    if not isinstance(node, Mapping):
        return node
    if isinstance(node.get("anyOf"), list):
        kept = [inner for inner in node["anyOf"] if inner.get("type") != "null"]
        rest = {key: value for key, value in node.items() if key != "anyOf"}
        node = {**kept[0], **rest} if len(kept) == 1 else {**rest, "anyOf": kept}
    found = {}
    for key, value in node.items():
        if (key == "title" and isinstance(value, str)) or (key == "default" and value is None):
            continue
        if node.get("type") == "string" and key in _NUMERIC:
            continue
        seconds = key == "default" and node.get("type") == "string" and isinstance(value, int | float)
        found[key] = f"{value:g}s" if seconds else _plain(value)  # of the texts, only durations are numbers inside
    return found
