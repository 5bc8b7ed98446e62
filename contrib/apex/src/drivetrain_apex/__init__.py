"""NVIDIA Apex for drivetrain. Apex itself is built from its source; nothing of it is imported here."""
