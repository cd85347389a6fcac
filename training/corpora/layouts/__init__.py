"""The layouts of corpora: how the files of a split are read; see `table` and `protocol`."""
