"""What drivetrain logs, as the files of DVCLive: ``report_to="dvclive"``."""
