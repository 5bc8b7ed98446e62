"""What authors of plugins import: `hookimpl`, one base class for each kind of part, options.

A plugin is a class derived from one of these and one line in ``pyproject.toml``::

    [project.entry-points."drivetrain.optimizers"]
    lion = "drivetrain_lion.optimizer:Lion"
"""

from drivetrain.hookspecs import hookimpl as hookimpl
from drivetrain.plugin.hub import HubPlugin as HubPlugin
from drivetrain.plugin.optimizer import OptimizerPlugin as OptimizerPlugin
from drivetrain.plugin.optimizer import refuse_given_twice as refuse_given_twice
from drivetrain.plugin.options import NoOptions as NoOptions
from drivetrain.plugin.options import OptionsError as OptionsError
from drivetrain.plugin.options import read_options as read_options
from drivetrain.plugin.part import Plugin as Plugin
from drivetrain.plugin.precision import PrecisionPlugin as PrecisionPlugin
from drivetrain.plugin.reporter import Outcome as Outcome
from drivetrain.plugin.reporter import ReporterPlugin as ReporterPlugin
from drivetrain.plugin.reporter import Run as Run
from drivetrain.plugin.scheduler import SchedulerPlugin as SchedulerPlugin
from drivetrain.plugin.searcher import BestRun as BestRun
from drivetrain.plugin.searcher import Report as Report
from drivetrain.plugin.searcher import Search as Search
from drivetrain.plugin.searcher import SearcherPlugin as SearcherPlugin
from drivetrain.plugin.searcher import TrialResult as TrialResult
from drivetrain.plugin.strategy import StrategyPlugin as StrategyPlugin
from drivetrain_registry import UsageError as UsageError
