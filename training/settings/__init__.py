"""The options of each command, validated before heavy imports."""
