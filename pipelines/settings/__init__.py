"""Settings of each command, validated before models and libraries are loaded."""
