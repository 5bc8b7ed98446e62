"""What drivetrain logs, in Trackio: ``report_to="trackio"``."""
