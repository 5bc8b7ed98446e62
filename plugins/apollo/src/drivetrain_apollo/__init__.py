"""APOLLO for drivetrain (arXiv:2412.05270): gradients scaled by what AdamW does in a small random space."""
