"""Features that an argument switches on: plugins that come with core, each in a file of its own.

They reach the run through the same hooks as anyone's plugin. What an argument switches on is listed here, in
the order in which the features are called; nothing is imported until it is asked for.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from drivetrain.parts import load_hub, load_named_plugin
from drivetrain.plugin.part import Plugin

if TYPE_CHECKING:
    from drivetrain.arguments import TrainingArguments


class Feature(NamedTuple):
    """A plugin that an argument switches on.

    Attributes:
        argument: The argument.
        where: Module and class in this package, or the name of a plugin of another distribution.
        is_on: Whether the argument asks for it; by default if it is set to anything that is true.
        or_by: Another argument that may ask for it, too, by being False.
    """

    argument: str
    where: str
    is_on: Callable[[Any], bool] = bool
    or_by: str | None = None

    def is_asked(self, args: TrainingArguments) -> bool:
        """Whether the arguments ask for it."""
        if self.or_by is not None and not getattr(args, self.or_by):
            return True
        return self.is_on(getattr(args, self.argument))

    def load(self, args: TrainingArguments) -> Plugin:
        """Make the plugin.

        Raises:
            UsageError: It is a plugin of a distribution that is not installed.
        """
        module, _, name = self.where.partition(":")
        if self.where == "hub":
            return load_hub(args)
        if not name:
            return load_named_plugin(args, self.where, option=self.argument)
        cls = getattr(importlib.import_module(f"{__name__}.{module}"), name)
        part: Plugin = cls(args)
        part.name = part.option = part.title = self.argument
        return part


def _is_somebody(report_to: str | list[str] | None) -> bool:
    return report_to not in (None, "none", [], ["none"])


FEATURES = (
    Feature("preemption_signals", "preemption:Preemption"),
    Feature("tf32", "determinism:TensorFloat32", lambda value: value is not None),
    Feature("use_liger_kernel", "liger"),
    Feature("gradient_checkpointing", "gradient_checkpointing:GradientCheckpointing"),
    Feature("neftune_noise_alpha", "neftune:NEFTune", lambda value: value is not None),
    Feature("past_index", "past:PastStates", lambda value: value >= 0),
    Feature("torch_compile", "compilation:Compilation"),
    Feature("jit_mode_eval", "tracing:Tracing"),
    Feature("bf16_full_eval", "full_evaluation:BFloat16Evaluation"),
    Feature("fp16_full_eval", "full_evaluation:Float16Evaluation"),
    Feature("debug", "overflow:OverflowDetection", lambda value: "underflow_overflow" in value),
    Feature("report_to", "measurements:Measurements", _is_somebody, "disable_tqdm"),
    Feature("include_num_input_tokens_seen", "tokens:TokensSeen", lambda value: value != "no"),
    Feature("include_tokens_per_second", "tokens:TokensPerSecond"),
    Feature("torch_empty_cache_steps", "empty_cache:EmptyCache", lambda value: value is not None),
    Feature("skip_memory_metrics", "memory:MemoryMetrics", lambda value: not value),
    Feature("profile", "profiler:Profiler"),
    Feature("push_to_hub", "hub"),
)
"""Every argument that switches on a plugin, in the order of the hooks' calls."""


def features_of(args: TrainingArguments) -> Iterator[Feature]:
    """The features that the arguments ask for."""
    return (feature for feature in FEATURES if feature.is_asked(args))
