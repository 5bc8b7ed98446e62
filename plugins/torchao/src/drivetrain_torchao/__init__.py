"""torchao's AdamW for drivetrain: moments in 4 or 8 bits or in float8."""
