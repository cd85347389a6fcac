"""Readers of PubMed XML, PubTator and JSONL: each record gives a citation or a failure."""
