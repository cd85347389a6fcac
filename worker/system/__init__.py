"""The machine: processes, threads, locks, optional packages."""
