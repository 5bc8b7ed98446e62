"""What drivetrain logs, in Azure Machine Learning: ``report_to="azure_ml"``."""
