"""Sources: files and stored text as blocks of records."""
