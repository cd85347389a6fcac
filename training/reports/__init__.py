"""Reports: plots, pages, output folders and progress."""
