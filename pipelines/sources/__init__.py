"""Sources: files and stored text, read as blocks of records."""
