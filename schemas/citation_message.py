"""The citation message: its schema version, its JSON Schema, and its encoder."""

import json
from importlib.resources import files
from typing import Any

from schemas.records import ALL_VERSIONS, Citation

SCHEMA_VERSION = 1
"""The version that is written, and the newest version that is fully supported."""

SCHEMA_FILE = "citation-message.schema.json"


def message_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a message's value, the file `schemas/SCHEMA_FILE`."""
    schema: dict[str, Any] = json.loads(
        files("schemas").joinpath(SCHEMA_FILE).read_text(encoding="utf-8")
    )
    return schema


def to_value(citation: Citation) -> bytes | None:
    """Return the value of a citation's message: None (null) if all its versions are deleted."""
    if citation.deleted and citation.version == ALL_VERSIONS:
        return None
    return to_message(citation)


def to_message(citation: Citation) -> bytes:
    """Return `citation` as one line of JSON, as read from JSONL files and from topics."""
    fields: dict[str, object] = {
        "schema_version": SCHEMA_VERSION,
        "pmid": citation.pmid,
    }
    if citation.version != ALL_VERSIONS:
        fields["pmid_version"] = citation.version
    if citation.deleted:
        fields["deleted"] = True
    else:
        fields["title"] = citation.title
        fields["abstract"] = [
            {"text": section.text} | ({"label": section.label} if section.label else {})
            for section in citation.abstract
        ]
        fields["retracted"] = citation.retracted
        fields["date_revised"] = citation.date_revised and citation.date_revised.isoformat()
        fields["year"] = citation.year
    return json.dumps(fields, ensure_ascii=True).encode("ascii")
