"""Tests of what deploy holds, as far as it needs no service."""
