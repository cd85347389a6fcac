"""The gate: whether a candidate checkpoint may take the place of the active one."""
