"""The contract of a citation's message: its version and its JSON Schema."""

import json
from importlib.resources import files
from typing import Any

SCHEMA_VERSION = 1
"""The version that is written, and the newest whose every field is known here."""

SCHEMA_FILE = "citation-message.schema.json"


def message_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a message's value, which is published in `schemas/`."""
    schema: dict[str, Any] = json.loads(
        files("schemas").joinpath(SCHEMA_FILE).read_text(encoding="utf-8")
    )
    return schema
