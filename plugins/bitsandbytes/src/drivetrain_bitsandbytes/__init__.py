"""bitsandbytes for drivetrain: optimizer state in 8 bits (arXiv:2110.02861), or paged (arXiv:2305.14314)."""
