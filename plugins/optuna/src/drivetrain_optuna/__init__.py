"""Optuna chooses the hyper-parameters: ``trainer.hyperparameter_search(backend="optuna")``."""

from drivetrain_optuna.searcher import Optuna as Optuna
