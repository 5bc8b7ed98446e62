"""Why drivetrain does not report to Neptune: ``report_to="neptune"`` says so."""
