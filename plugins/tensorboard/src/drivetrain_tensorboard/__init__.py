"""What drivetrain logs, in TensorBoard: ``report_to="tensorboard"``."""

from drivetrain_tensorboard.reporter import TensorBoard as TensorBoard
