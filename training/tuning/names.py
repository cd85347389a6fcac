"""The file names of a search, and the names of its pruners."""

STUDY_FILE = "study.db"
BEST_FILE = "best.json"
PRUNERS = ("median", "hyperband", "none")
