"""What drivetrain logs, in Weights & Biases: ``report_to="wandb"``."""
