"""Documents as tables."""

from collections.abc import Iterable
from dataclasses import fields
from typing import TYPE_CHECKING

import pyarrow as pa

from pubner.tagging import Document, Mention
from schemas.arrow import MENTIONS

if TYPE_CHECKING:
    import pandas

_COLUMNS = tuple(field.name for field in fields(Mention))
_SCHEMA = pa.schema(
    [
        pa.field("document", pa.int64(), nullable=False),
        *(MENTIONS.field(name) for name in _COLUMNS),
    ]
)


def to_arrow(documents: Iterable[Document]) -> pa.Table:
    """Return the mentions of documents as a table, a row a mention.

    `document` is the document's number, from 0; the other columns are the fields of a mention.

        >>> import pubner
        >>> table = pubner.to_arrow(pubner.load().annotate(["Aspirin against pain."]))
        >>> table.column_names
        ['document', 'task', 'label', 'entity_type', 'start', 'end', 'text', 'score', 'preferred']
    """
    rows = [
        {"document": number, **{name: getattr(mention, name) for name in _COLUMNS}}
        for number, document in enumerate(documents)
        for mention in document.mentions
    ]
    return pa.Table.from_pylist(rows, schema=_SCHEMA)


def to_pandas(documents: Iterable[Document]) -> "pandas.DataFrame":
    """Return the mentions of documents as a data frame, as `to_arrow` has them.

        >>> import pubner
        >>> frame = pubner.to_pandas(pubner.load().annotate(["Aspirin against pain."]))
        >>> frame[frame.preferred].text.tolist()
        ['Aspirin', 'pain']

    :raises MissingPackageError: if pandas is not installed.
    """
    from worker.system.extras import require

    require("pandas", purpose="pubner.to_pandas")
    return to_arrow(documents).to_pandas()
