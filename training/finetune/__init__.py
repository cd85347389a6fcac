"""Fine-tuning: the loop, its losses, its state, and the export."""
