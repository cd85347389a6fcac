"""Evaluation: strict entity scores, token scores, and end-to-end scores on raw documents."""
