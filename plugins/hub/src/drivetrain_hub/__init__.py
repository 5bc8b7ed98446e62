"""What drivetrain saves, on the Hugging Face Hub: ``push_to_hub=True``."""

from drivetrain_hub.plugin import Hub as Hub
