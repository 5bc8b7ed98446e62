"""GrokAdamW for drivetrain."""
