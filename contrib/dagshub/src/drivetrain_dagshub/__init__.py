"""What drivetrain logs, as the files of DagsHub: ``report_to="dagshub"``."""
