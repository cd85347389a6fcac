"""The drift reference in a manifest: an optional note, checked."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from schemas.manifest import CheckpointManifest, DriftReference, HeadReference

MANIFEST: dict[str, Any] = {
    "id": "0123456789abcdef",
    "kind": "encoder",
    "tasks": [{"name": "bc2gm", "labels": [{"name": "GENE", "entity_type": "Gene"}]}],
    "files": {"model.safetensors": "0"},
}
REFERENCE = DriftReference(
    name="texts.jsonl",
    sha256="ab",
    citations=500,
    word_pieces=100_000,
    unknown_share=0.001,
    heads={
        "bc2gm": HeadReference(
            mentions=1000, mentions_per_citation=2.0, edges=(0.5, 0.9), shares=(0.2, 0.3, 0.5)
        )
    },
)


def test_a_manifest_without_a_reference_loads_and_does_not_name_it() -> None:
    manifest = CheckpointManifest.model_validate_json(json.dumps(MANIFEST))
    assert manifest.reference is None
    assert "reference" not in manifest.model_dump(mode="json")
    assert "reference" not in json.loads(manifest.model_dump_json())


def test_a_reference_comes_back_as_it_was_written() -> None:
    manifest = CheckpointManifest.model_validate(MANIFEST | {"reference": REFERENCE})
    again = CheckpointManifest.model_validate_json(manifest.model_dump_json())
    assert again == manifest
    assert again.reference == REFERENCE


@pytest.mark.parametrize(
    ("edges", "shares", "part"),
    [
        ((0.9, 0.5), (0.2, 0.3, 0.5), "ascend"),
        ((0.5, 0.5), (0.2, 0.3, 0.5), "ascend"),
        ((0.5, 1.0), (0.2, 0.3, 0.5), "ascend"),
        ((0.5,), (0.2, 0.3, 0.5), "1 edges need 2 shares"),
        ((0.5,), (0.2, 0.3), "fractions that add up to 1"),
        ((0.5,), (1.5, -0.5), "fractions that add up to 1"),
    ],
)
def test_bins_that_are_none_are_refused(
    edges: tuple[float, ...], shares: tuple[float, ...], part: str
) -> None:
    with pytest.raises(ValidationError, match=part):
        HeadReference(mentions=1, mentions_per_citation=1.0, edges=edges, shares=shares)
