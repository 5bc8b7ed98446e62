"""What authors of plugins import: `hookimpl`, one base class for each kind of part, options.

A plugin is a class derived from one of these and one line in ``pyproject.toml``::

    [project.entry-points."drivetrain.optimizers"]
    lion = "drivetrain_lion.optimizer:Lion"
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from drivetrain.hookspecs import hookimpl as hookimpl
from drivetrain.plugin.adam import AdamOptions as AdamOptions
from drivetrain.plugin.adam import AdamPlugin as AdamPlugin
from drivetrain.plugin.command import CommandPlugin as CommandPlugin
from drivetrain.plugin.forwarding import Forwarding as Forwarding
from drivetrain.plugin.hub import HubPlugin as HubPlugin
from drivetrain.plugin.imports import quietly as quietly
from drivetrain.plugin.libraries import find_missing_library as find_missing_library
from drivetrain.plugin.optimizer import OptimizerPlugin as OptimizerPlugin
from drivetrain.plugin.optimizer import Purpose as Purpose
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
from drivetrain.plugin.switches import find_unclear_switches as find_unclear_switches
from drivetrain.plugin.switches import read_switch as read_switch
from drivetrain.plugin.values import as_float as as_float
from drivetrain.plugin.values import as_number as as_number
from drivetrain.plugin.versions import read_versions as read_versions
from drivetrain_registry import UsageError as UsageError

if TYPE_CHECKING:
    from drivetrain.plugin.bare_optimizer import BareOptimizer as BareOptimizer
    from drivetrain.plugin.bare_optimizer import adapt_optimizer as adapt_optimizer
    from drivetrain.plugin.image import Image as Image
    from drivetrain.plugin.layerwise import LayerwisePlugin as LayerwisePlugin
    from drivetrain.plugin.layerwise import StepsInBackward as StepsInBackward
    from drivetrain.plugin.targets import explain_useless_rank as explain_useless_rank
    from drivetrain.plugin.targets import find_target_weights as find_target_weights
    from drivetrain.plugin.targets import split_groups as split_groups
    from drivetrain.plugin.targets import target_problems as target_problems

_ON_FIRST_USE = {
    "BareOptimizer": "bare_optimizer",
    "adapt_optimizer": "bare_optimizer",
    "Image": "image",
    "LayerwisePlugin": "layerwise",
    "StepsInBackward": "layerwise",
    "explain_useless_rank": "targets",
    "find_target_weights": "targets",
    "split_groups": "targets",
    "target_problems": "targets",
}
"""Names whose modules import torch or NumPy, which listing plugins and reading arguments do without."""


def __getattr__(name: str) -> Any:
    if name not in _ON_FIRST_USE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_ON_FIRST_USE[name]}"), name)
    globals()[name] = value
    return value
