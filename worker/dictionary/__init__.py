"""The dictionary: the rule-based token-matching baseline."""
