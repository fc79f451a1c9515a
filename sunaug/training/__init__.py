"""Training: the loop, its losses, its augmentation and its checkpoints."""
