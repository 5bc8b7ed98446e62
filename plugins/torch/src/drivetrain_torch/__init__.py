"""The parts of drivetrain that need only PyTorch: optimizers, schedules, precisions, one device.

Nothing is imported here: each name in ``pyproject.toml`` leads to the module that has its part.
"""
