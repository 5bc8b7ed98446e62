"""LOMO and AdaLOMO for drivetrain (arXiv:2306.09782, arXiv:2310.10195): the update inside backward."""
