"""What drivetrain logs, in SwanLab: ``report_to="swanlab"``."""
