"""What drivetrain logs, in a deck of a Flyte task: ``report_to="flyte"``."""
