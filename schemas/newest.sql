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
-- 2. A deletion (status `deleted`) is of one version of its PMID, `pmid_version`, or of all: then
--    `pmid_version` is 0. It voids every earlier record of what it deletes in its log. What follows
--    it in its log makes the citation, or the version, anew.
-- 3. A deletion that no record of what it deletes follows in its log holds whatever other logs have:
--    PubMed does not use a PMID again, and a deletion bears no date to compare. Where nothing is
--    left of a PMID, its one row is such a deletion, with status `deleted` and no text, so that a
--    consumer can delete too; leave it out by `WHERE status <> 'deleted'`.
-- 4. Among what is left, the highest `pmid_version` wins, then the latest `date_revised` (none is
--    the earliest), then the last position: by source name, partition and offset. Between logs that
--    last step is no order of time, but it is the same whenever and by whomever it is asked.
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
followed AS (
    SELECT
        *,
        -- What follows in the log: citations of the PMID, those of the same version, deletions of
        -- all versions, deletions of the same version.
        coalesce(sum(CASE WHEN status <> 'deleted' THEN 1 ELSE 0 END) OVER behind, 0)
            AS citations_behind,
        coalesce(sum(CASE WHEN status <> 'deleted' THEN 1 ELSE 0 END) OVER same_behind, 0)
            AS same_citations_behind,
        coalesce(
            sum(CASE WHEN status = 'deleted' AND pmid_version = 0 THEN 1 ELSE 0 END) OVER behind, 0
        ) AS deletions_behind,
        coalesce(sum(CASE WHEN status = 'deleted' THEN 1 ELSE 0 END) OVER same_behind, 0)
            AS same_deletions_behind
    FROM in_logs
    WINDOW
        behind AS (
            PARTITION BY pmid, of_file, CASE WHEN of_file THEN '' ELSE source END, partition
            ORDER BY source, "offset"
            ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING
        ),
        same_behind AS (
            PARTITION BY
                pmid, pmid_version, of_file, CASE WHEN of_file THEN '' ELSE source END, partition
            ORDER BY source, "offset"
            ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING
        )
),
held AS (
    SELECT
        *,
        status = 'deleted' AND CASE
            WHEN pmid_version = 0 THEN citations_behind ELSE same_citations_behind
        END = 0 AS holds
    FROM followed
),
judged AS (
    SELECT
        *,
        max(CASE WHEN holds AND pmid_version = 0 THEN 1 ELSE 0 END)
            OVER (PARTITION BY pmid) AS gone,
        max(CASE WHEN holds THEN 1 ELSE 0 END)
            OVER (PARTITION BY pmid, pmid_version) AS version_gone
    FROM held
),
ranked AS (
    SELECT
        *,
        row_number() OVER (
            PARTITION BY pmid
            ORDER BY
                CASE WHEN status = 'deleted' THEN 1 ELSE 0 END,
                pmid_version DESC,
                date_revised DESC NULLS LAST,
                source DESC,
                partition DESC,
                "offset" DESC
        ) AS place
    FROM judged
    WHERE holds OR (
        status <> 'deleted' AND deletions_behind = 0 AND same_deletions_behind = 0
        AND gone = 0 AND version_gone = 0
    )
)
SELECT * EXCLUDE (
    of_file, citations_behind, same_citations_behind, deletions_behind, same_deletions_behind,
    holds, gone, version_gone, place
)
FROM ranked
WHERE place = 1;
