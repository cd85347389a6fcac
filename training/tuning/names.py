"""The files of a search, and the ways to end weak trials early."""

STUDY_FILE = "study.db"
BEST_FILE = "best.json"
PRUNERS = ("median", "hyperband", "none")
