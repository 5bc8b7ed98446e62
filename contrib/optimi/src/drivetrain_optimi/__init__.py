"""StableAdamW of torch-optimi for drivetrain."""
