"""Entity types: any valid name, a table of known ones, and what a manifest says."""

import pickle

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from schemas.entity_types import KNOWN_TYPES, EntityType, checked_curie, near_miss
from schemas.errors import RecordError
from schemas.manifest import LabelEntry, TaskEntry, content_id
from schemas.tasks import Label

EIGHT = ("Gene", "Protein", "DNA", "RNA", "CellLine", "CellType", "Chemical", "Disease")


def test_the_first_eight_are_known_first_and_all_have_a_curie() -> None:
    assert tuple(KNOWN_TYPES)[:8] == EIGHT
    assert {"Species", "Variant", "Anatomy", "CellularComponent"} <= set(KNOWN_TYPES)
    assert [checked_curie(curie) for curie in KNOWN_TYPES.values()] == list(KNOWN_TYPES.values())
    assert len(set(KNOWN_TYPES.values())) == len(KNOWN_TYPES)


@pytest.mark.parametrize("name", [*EIGHT, "Multi-tissue_structure", "Médicament", "a", "x.1"])
def test_a_name_is_a_plain_string_everywhere(name: str) -> None:
    kind = EntityType(name)
    assert (kind, hash(kind)) == (name, hash(name))
    assert f"{kind}" == str(kind) == name
    assert repr(kind) == repr(name)
    assert pickle.loads(pickle.dumps(kind)) == kind
    assert type(pickle.loads(pickle.dumps(kind))) is EntityType
    assert pa.array([kind]) == pa.array([name])
    adapter = TypeAdapter(EntityType)
    assert adapter.dump_json(adapter.validate_json(f'"{name}"')).decode() == f'"{name}"'


@pytest.mark.parametrize(
    "name",
    ["", " ", "a b", "a,b", "a;b", "a:b", "a/b", "a\tb", "a\nb", "a\0", 'a"b', "a=b", "-a", "_a",
     ".a", "1a", "a{b}", "a|b", "a\u200bb", "e\u0301", "x" * 65],
)  # fmt: skip
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(RecordError, match="cannot name an entity type: expected a letter, then"):
        EntityType(name)
    with pytest.raises(ValueError, match="cannot name an entity type"):
        TypeAdapter(EntityType).validate_python(name)


@given(st.text())
def test_what_is_accepted_breaks_no_metric_csv_or_option(name: str) -> None:
    try:
        kind = EntityType(name)
    except RecordError:
        return
    assert kind.isprintable()
    assert 1 <= len(kind) <= 64
    assert not set(kind) & set(" ,;:/|=\"'\\{}[]<>#\t\n")


@pytest.mark.parametrize("curie", ["", "Disease", ":1", "a:", "a b:c", "M:1,2", "a:" + "x" * 200])
def test_what_is_no_curie_is_refused(curie: str) -> None:
    with pytest.raises(ValueError, match="is not a CURIE"):
        checked_curie(curie)


@pytest.mark.parametrize(
    ("name", "meant"),
    [("Desease", "Disease"), ("disease", "Disease"), ("cell_line", "CellLine"),
     ("Chemicals", "Chemical"), ("Disease", None), ("Planet", None), ("DDF", None), ("Gene", None)],
)  # fmt: skip
def test_near_misses_of_known_names(name: str, meant: str | None) -> None:
    assert near_miss(name) == meant


def test_a_manifest_holds_any_type_and_its_meaning_and_known_ones_as_before() -> None:
    known = LabelEntry(name="GENE", entity_type=EntityType.GENE)
    assert known.model_dump_json() == '{"name":"GENE","entity_type":"Gene"}'
    own = LabelEntry.model_validate({"name": "x", "entity_type": "Symptom", "curie": "HP:1"})
    assert own.model_dump() == {"name": "x", "entity_type": "Symptom", "curie": "HP:1"}
    task = TaskEntry(name="t", labels=(known, own)).record()
    assert [label.curie for label in task.labels] == ["biolink:Gene", "HP:1"]
    assert task.labels[1] == Label("x", EntityType("Symptom"), "HP:1")
    with pytest.raises(ValueError, match="is not a CURIE"):
        LabelEntry.model_validate({"name": "x", "entity_type": "Symptom", "curie": "no"})


def test_the_meaning_of_a_type_does_not_change_the_id_of_a_checkpoint() -> None:
    def identity(curie: str | None) -> str:
        label = LabelEntry(name="x", entity_type=EntityType("Symptom"), curie=curie)
        task = TaskEntry(name="t", labels=(label,))
        return content_id({"a": "b"}, (task,), letter_case=False, max_pieces=1, calibration={})

    assert identity("HP:1") == identity(None)
