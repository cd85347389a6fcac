"""Training of the dictionary tagger, the rule-based baseline."""
