"""Dead letters: found in an output, shown, and given again to a topic or to the pipeline."""
