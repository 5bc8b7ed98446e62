"""The energy and the emissions of a drivetrain run: ``report_to="codecarbon"``."""
