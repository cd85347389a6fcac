"""The work behind the commands: from settings to what is written and shown."""
