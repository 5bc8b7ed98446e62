"""Checkpoints: what they consist of, writing them whole, finding the one to resume from."""
