"""Networks for inference: BERT over packed rows, its layers, and the task heads."""
