"""Dead letters of an output: listed, shown, and replayed to a topic or through the pipeline."""
