"""What drivetrain logs, in Comet: ``report_to="comet_ml"``."""
