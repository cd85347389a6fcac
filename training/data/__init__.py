"""Training data: windows of examples, augmented, sampled, batched."""
