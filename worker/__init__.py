"""The runtime around a checkpoint: text in, mentions out. Knows nothing of Beam."""
