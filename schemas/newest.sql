-- The newest word on each PMID: one row a PMID, of the columns of `citations`.
--
-- The data set keeps every version of a citation that was ever read, each at its own position
-- (source, partition, offset). This view picks the one that counts now. It reads a table or view
-- named `citations`; in DuckDB:
--
--     CREATE VIEW citations AS SELECT * FROM read_parquet('out/citations/*.parquet');
--     .read newest.sql
--     SELECT count(*) FROM newest_citations WHERE status <> 'deleted';
--
--     -- the mentions of what counts now, and of nothing older:
--     SELECT m.* FROM read_parquet('out/mentions/*.parquet') AS m
--     JOIN newest_citations AS c USING (source, partition, "offset");
--
-- How it decides:
--
-- 1. A log is a series of records in the order in which they were published. Each partition of a
--    topic is one, in the order of offsets. All files together are one, in the order of their
--    names, then offsets: PubMed numbers its baseline and update files as it publishes them. A
--    source is a file where its name ends as a format's files do (partition 0, `.xml`, `.pubtator`,
--    `.pubtator.txt`, `.jsonl`, `.ndjson`, each also with `.gz`).
-- 2. A deletion (status `deleted`) voids every earlier record of its PMID in its log. What follows
--    it in its log makes the citation anew.
-- 3. A PMID whose last record in a log is a deletion is deleted, whatever other logs hold of it:
--    PubMed does not use a PMID again, and a deletion bears no date to compare. Its one row then is
--    that deletion, with status `deleted` and no text, so that a consumer can delete too; leave it
--    out by `WHERE status <> 'deleted'`.
-- 4. Among what is left, the highest `date_revised` wins (none is the lowest), then the highest
--    `pmid_version`, then the last position: by source name, partition and offset. Between logs
--    that last step is no order of time, but it is the same whenever and by whomever it is asked.
--    `annotated_at` has no say: it tells when a row was made, and a replay makes old rows late.
--
-- A dead letter has no row in `citations`, and so no say here. The SQL is DuckDB's, of plain window
-- functions; names are compared by their bytes.

CREATE OR REPLACE VIEW newest_citations AS
WITH in_logs AS (
    SELECT
        *,
        partition = 0 AND (
            lower(source) LIKE '%.xml' OR lower(source) LIKE '%.xml.gz'
            OR lower(source) LIKE '%.pubtator' OR lower(source) LIKE '%.pubtator.gz'
            OR lower(source) LIKE '%.pubtator.txt' OR lower(source) LIKE '%.pubtator.txt.gz'
            OR lower(source) LIKE '%.jsonl' OR lower(source) LIKE '%.jsonl.gz'
            OR lower(source) LIKE '%.ndjson' OR lower(source) LIKE '%.ndjson.gz'
        ) AS of_file
    FROM citations
),
ordered AS (
    SELECT
        *,
        -- How many records of the PMID follow in the log, and how many of them are deletions.
        count(*) OVER behind AS followers,
        coalesce(sum(CASE WHEN status = 'deleted' THEN 1 ELSE 0 END) OVER behind, 0) AS deletions
    FROM in_logs
    WINDOW behind AS (
        PARTITION BY pmid, of_file, CASE WHEN of_file THEN '' ELSE source END, partition
        ORDER BY source, "offset"
        ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING
    )
),
ranked AS (
    SELECT
        *,
        row_number() OVER (
            PARTITION BY pmid
            ORDER BY
                CASE WHEN status = 'deleted' THEN 0 ELSE 1 END,
                date_revised DESC NULLS LAST,
                pmid_version DESC,
                source DESC,
                partition DESC,
                "offset" DESC
        ) AS place
    FROM ordered
    WHERE deletions = 0 AND (status <> 'deleted' OR followers = 0)
)
SELECT * EXCLUDE (of_file, followers, deletions, place)
FROM ranked
WHERE place = 1;
