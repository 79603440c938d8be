"""The asv suite: one module for each operation, and what they share in `peers`."""
