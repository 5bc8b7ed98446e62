"""Data: from samples to batches, in an order that can be entered anywhere."""
