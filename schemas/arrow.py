"""The Arrow schemas of the three output kinds: mentions, citations and dead letters."""

import pyarrow as pa

MENTIONS = pa.schema(
    [
        pa.field("pmid", pa.int64(), nullable=False),
        pa.field("pmid_version", pa.int16(), nullable=False),
        pa.field("task", pa.string(), nullable=False),
        pa.field("label", pa.string(), nullable=False),
        pa.field("entity_type", pa.string(), nullable=False),
        pa.field("start", pa.int32(), nullable=False),
        pa.field("end", pa.int32(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("section", pa.string(), nullable=False),
        pa.field("score", pa.float32(), nullable=False),
        pa.field("preferred", pa.bool_(), nullable=False),
        pa.field("checkpoint_id", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("partition", pa.int32(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
    ]
)

CITATIONS = pa.schema(
    [
        pa.field("pmid", pa.int64(), nullable=False),
        pa.field("pmid_version", pa.int16(), nullable=False),
        pa.field("status", pa.string(), nullable=False),
        pa.field("text", pa.string()),
        pa.field("text_sha256", pa.string()),
        pa.field("retracted", pa.bool_(), nullable=False),
        pa.field("date_revised", pa.date32()),
        pa.field("year", pa.int16()),
        pa.field("mention_count", pa.int32(), nullable=False),
        pa.field("truncated", pa.bool_(), nullable=False),
        pa.field("checkpoint_id", pa.string(), nullable=False),
        pa.field("annotated_at", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("partition", pa.int32(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
    ]
)

_HEADER = pa.struct(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("key_bytes", pa.binary()),
        pa.field("value", pa.binary()),
    ]
)
"""A message header; `key` has replacement characters if the key is not UTF-8, see `key_bytes`."""

DEAD_LETTERS = pa.schema(
    [
        pa.field("source", pa.string(), nullable=False),
        pa.field("partition", pa.int32(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("stage", pa.string(), nullable=False),
        pa.field("error_type", pa.string(), nullable=False),
        pa.field("error", pa.string(), nullable=False),
        pa.field("key", pa.binary()),
        pa.field("headers", pa.map_(pa.string(), pa.binary()), nullable=False),
        pa.field("payload", pa.binary(), nullable=False),
        pa.field("seen_at", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("header_list", pa.list_(pa.field("element", _HEADER, nullable=False))),
    ]
)
"""`headers` has the last non-null value of each key; `header_list` has all headers in order."""

KINDS: dict[str, pa.Schema] = {
    "mentions": MENTIONS,
    "dead_letters": DEAD_LETTERS,
    "citations": CITATIONS,
}
"""The output kinds in the order in which a block's files are committed: citations last."""
