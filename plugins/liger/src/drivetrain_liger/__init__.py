"""Liger's kernels for drivetrain (arXiv:2410.10989): ``use_liger_kernel=True``."""
