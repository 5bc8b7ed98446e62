"""What drivetrain logs, in ClearML: ``report_to="clearml"``."""
