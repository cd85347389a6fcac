"""Decoding a slice of a topic into citations and dead letters."""

from pipelines.blocks.elements import BlockHeader
from pipelines.blocks.keys import BlockKey
from pipelines.kafka.batches import RawRecord
from pipelines.kafka.decode import decode_slice
from pipelines.kafka.slices import RawSlice
from tests.support.blocks import NOW


def part(*records: tuple[bytes | None, bytes | None]) -> RawSlice:
    made = tuple(
        RawRecord(offset, 0, key, value, (("a", b"b"),))
        for offset, (key, value) in enumerate(records)
    )
    return RawSlice(BlockHeader(BlockKey("t", 0, 0), "kafka:c:t"), 0, len(records), made)


def test_nesting_of_any_depth_is_that_message_s_dead_letter() -> None:
    good = b'{"pmid": 5, "title": "T", "abstract": "A"}'
    bad = [b'{"pmid": ' + b"[" * depth + b"]" * depth + b"}" for depth in range(600, 1100)]
    found = decode_slice(part(*((b"5", value) for value in (good, *bad, good))), lambda: NOW)
    assert [x.offset for x in found.citations] == [0, 501]
    assert [x.payload for x in found.dead_letters] == bad
    assert {x.error_type for x in found.dead_letters} == {"RecordError"}
    assert {x.key for x in found.dead_letters} == {b"5"}
    assert max(len(x.error) for x in found.dead_letters) < 200


def test_a_null_value_has_no_payload_where_its_key_is_wrong() -> None:
    [dead_letter] = decode_slice(part((b"x", None)), lambda: NOW).dead_letters
    assert (dead_letter.payload, dead_letter.key, dead_letter.headers) == (
        b"",
        b"x",
        (("a", b"b"),),
    )
