"""What drivetrain logs, in MLflow: ``report_to="mlflow"``."""
