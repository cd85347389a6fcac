"""Learning a dictionary, the rule-based baseline, from corpora."""
