"""Schedule-free optimizers for drivetrain (arXiv:2405.15682), by the library schedulefree."""
