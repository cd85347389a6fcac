"""The training experiments: cells of the table, runs, gathered results and their page."""
