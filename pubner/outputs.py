"""An output as tables: what counts now of all that was written, in memory or as a stream."""

from collections.abc import Sequence
from typing import Any, Final

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds

from pipelines.output.manifest import open_existing
from pipelines.output.store import Store
from schemas.arrow import KINDS
from schemas.errors import InputError
from schemas.newest import newest_sql
from worker.storage.locations import absolute

_KEYS: Final = ("source", "partition", "offset")
"""The columns that name a record: a citation's row, and its mentions."""

_NEEDED: Final = (*_KEYS, "pmid", "pmid_version", "status", "date_revised")
"""The columns of citations by which the newest version of each PMID is found."""

_BATCH_ROWS: Final = 100_000


class Output:
    """What `pubner annotate` or `pubner stream` wrote: see `open_output`.

    Each table has the columns of its kind, or those that `columns` names. `where` is a condition in
    SQL over the columns of the kind, such as `score > 0.9` or `status = 'annotated'`, as DuckDB
    reads it. `newest` False gives every version of a citation as it was written, deletions too.
    """

    def __init__(self, root: str) -> None:
        self._store = open_existing(absolute(root))
        self.root = root

    def citations(
        self,
        *,
        columns: Sequence[str] | None = None,
        where: str | None = None,
        newest: bool = True,
    ) -> pa.Table:
        """Return the citations: the newest version of each PMID, without deleted ones.

        :raises InputError: if a column is unknown, or the condition cannot be evaluated.
        :raises OutputError: if the output cannot be read.
        """
        return self.scan_citations(columns=columns, where=where, newest=newest).read_all()

    def mentions(
        self,
        *,
        columns: Sequence[str] | None = None,
        where: str | None = None,
        preferred: bool | None = None,
        newest: bool = True,
    ) -> pa.Table:
        """Return the mentions of the newest versions; with `preferred`, those alone that count.

        Where heads find several mentions of one entity type that overlap, one is preferred;
        `preferred=False` gives the others.

        :raises InputError: if a column is unknown, or the condition cannot be evaluated.
        :raises OutputError: if the output cannot be read.
        """
        return self.scan_mentions(
            columns=columns, where=where, preferred=preferred, newest=newest
        ).read_all()

    def dead_letters(
        self, *, columns: Sequence[str] | None = None, where: str | None = None
    ) -> pa.Table:
        """Return what could not be annotated, and why.

        :raises InputError: if a column is unknown, or the condition cannot be evaluated.
        :raises OutputError: if the output cannot be read.
        """
        return self.scan_dead_letters(columns=columns, where=where).read_all()

    def scan_citations(
        self,
        *,
        columns: Sequence[str] | None = None,
        where: str | None = None,
        newest: bool = True,
    ) -> pa.RecordBatchReader:
        """Return what `citations` does as a stream, for more than memory holds."""
        return self._scan("citations", columns, [where], newest=newest)

    def scan_mentions(
        self,
        *,
        columns: Sequence[str] | None = None,
        where: str | None = None,
        preferred: bool | None = None,
        newest: bool = True,
    ) -> pa.RecordBatchReader:
        """Return what `mentions` does as a stream, for more than memory holds."""
        only = None if preferred is None else ("preferred" if preferred else "NOT preferred")
        return self._scan("mentions", columns, [where, only], newest=newest)

    def scan_dead_letters(
        self, *, columns: Sequence[str] | None = None, where: str | None = None
    ) -> pa.RecordBatchReader:
        """Return what `dead_letters` does as a stream of record batches."""
        return self._scan("dead_letters", columns, [where], newest=False)

    def _scan(
        self,
        kind: str,
        columns: Sequence[str] | None,
        conditions: Sequence[str | None],
        *,
        newest: bool,
    ) -> pa.RecordBatchReader:
        schema = KINDS[kind]
        wanted = list(schema.names if columns is None else columns)
        for name in wanted:
            if name not in schema.names:
                raise InputError(
                    f"column {name!r} is none of {kind}, which has {', '.join(schema.names)}"
                )
        connection = duckdb.connect(config={"enable_external_access": False})
        connection.register("rows", _data_set(self._store, kind))
        relation = "rows"
        if newest:
            connection.register("all_citations", _data_set(self._store, "citations"))
            connection.execute(
                f"CREATE VIEW citations AS SELECT {_listed(_NEEDED)} FROM all_citations"  # noqa: S608
            )
            connection.execute(newest_sql())
            relation = (
                f"(SELECT rows.* FROM rows SEMI JOIN (SELECT {_listed(_KEYS)} FROM "  # noqa: S608
                f"newest_citations WHERE status <> 'deleted') USING ({_listed(_KEYS)}))"
            )
        given = [f"({condition}\n)" for condition in conditions if condition is not None]
        query = f"SELECT {_listed(wanted)} FROM {relation}"  # noqa: S608 - the user's own query
        if given:
            query += f" WHERE {' AND '.join(given)}"
        try:
            reader = connection.sql(query).to_arrow_reader(_BATCH_ROWS)
        except duckdb.Error as error:
            words = " ".join(str(error).split())
            raise InputError(
                f"the {kind} cannot be queried by {conditions[0]!r}: {words}"
            ) from error
        target = pa.schema([schema.field(name) for name in wanted])
        return pa.RecordBatchReader.from_batches(
            target, (batch.cast(target) for batch in _each(reader, connection))
        )


def open_output(path: str) -> Output:
    """Open the output of `pubner annotate` or `pubner stream` for reading: a folder, or a URL.

        >>> import pubner
        >>> pubner.open_output("nothing here")
        Traceback (most recent call last):
        ...
        schemas.errors.OutputError: ...

    :raises OutputError: if there is none.
    """
    return Output(path)


def _each(reader: pa.RecordBatchReader, connection: duckdb.DuckDBPyConnection) -> Any:  # noqa: ANN401
    """Yield the batches; the connection lives as long as they are read."""
    with connection:
        yield from reader


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _data_set(store: Store, kind: str) -> ds.Dataset:
    """Return the files of a kind as one data set, in which a column of a later version is null."""
    files, folder = store.arrow_files(kind)
    paths = [f"{folder}{name}" for name in store.names(kind)]
    return ds.dataset(paths, schema=KINDS[kind], format="parquet", filesystem=files)
