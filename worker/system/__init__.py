"""Operating-system services: processes, threads, locks, regular files, optional packages."""
