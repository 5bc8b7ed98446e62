"""The commands `drivetrain report` and `drivetrain schedule`."""
