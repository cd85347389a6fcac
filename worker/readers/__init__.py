"""Input files as records: PubMed XML, PubTator and JSONL, each position a citation or a failure."""
