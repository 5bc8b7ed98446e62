"""GaLore for drivetrain (arXiv:2403.03507): optimizer state in a low-rank projection of the gradients."""
