"""The schema of a run's configuration as rows for people to read."""

from __future__ import annotations

import json
from typing import Any

from raglift.config_schema import Config


def describe_schema() -> list[tuple[str, str, str, str]]:
    """Every key as (dotted key, what it takes, default as JSON, meaning), in the order of the schema."""
    schema = Config.model_json_schema()
    rows: list[tuple[str, str, str, str]] = []
    for name, field in schema["properties"].items():
        rows += _rows(name, field, schema["$defs"])
    return rows


def _rows(name: str, field: dict[str, Any], sections: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    """The rows of a key, or of the keys of its section; a section that may be null has a row of its own too."""
    options = field.get("anyOf", [field])
    section = next((sections[option["$ref"].rpartition("/")[2]] for option in options if "$ref" in option), None)
    rows = []
    if section is None or "anyOf" in field:
        default = json.dumps(field["default"]) if "default" in field else ""
        takes = _takes(field) if section is None else "null or a section"
        rows.append((name, takes, default, " ".join(field["description"].split())))
    for key, value in section["properties"].items() if section else ():
        rows += _rows(f"{name}.{key}", value, sections)
    return rows


def _takes(schema: dict[str, Any]) -> str:
    """A JSON Schema in a few words."""
    if "anyOf" in schema:
        return " or ".join(_takes(option) for option in schema["anyOf"])
    if "const" in schema:
        return str(schema["const"])
    if "enum" in schema:
        return " or ".join(schema["enum"])
    inner = schema.get("items") or schema.get("additionalProperties")
    if isinstance(inner, dict):
        return f"{'list' if schema['type'] == 'array' else 'mapping'} of {_takes(inner)}"
    words = {"integer": "whole number", "string": "text", "object": "mapping", "null": "null"}
    signs = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    limits = [f"{sign} {schema[name]}" for name, sign in signs.items() if name in schema]
    return " ".join([words.get(schema["type"], schema["type"]), *limits])
