"""From the arguments to the parts that they name: resolved, checked, made.

The registry knows names; this module knows which argument names which kind of part, where its
options are, and what a part of each kind must be.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from drivetrain.plugin.hub import HubPlugin
from drivetrain.plugin.optimizer import OptimizerPlugin
from drivetrain.plugin.options import parse_options, read_options
from drivetrain.plugin.part import Plugin
from drivetrain.plugin.precision import PrecisionPlugin
from drivetrain.plugin.reporter import ReporterPlugin
from drivetrain.plugin.scheduler import SchedulerPlugin
from drivetrain.plugin.searcher import SearcherPlugin
from drivetrain.plugin.strategy import StrategyPlugin
from drivetrain_registry import (
    BrokenPluginError,
    Resolved,
    UsageError,
    WrongKindError,
    default_registry,
)
from drivetrain_registry.kinds import (
    OPTIMIZER,
    PLUGIN,
    PRECISION,
    REPORTER,
    SCHEDULER,
    SEARCHER,
    STRATEGY,
    Kind,
)

if TYPE_CHECKING:
    from drivetrain.arguments import TrainingArguments

PartT = TypeVar("PartT", bound=Plugin)

BASE_CLASSES: Mapping[Kind, type[Plugin]] = {
    OPTIMIZER: OptimizerPlugin,
    SCHEDULER: SchedulerPlugin,
    PRECISION: PrecisionPlugin,
    STRATEGY: StrategyPlugin,
    REPORTER: ReporterPlugin,
    SEARCHER: SearcherPlugin,
    PLUGIN: Plugin,
}
"""What a part of each kind derives from."""


@dataclass
class PartProblems:
    """What stands against the parts that the arguments name."""

    errors: list[str | Exception] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def check_parts(args: TrainingArguments, *, ask: bool = True) -> PartProblems:
    """Load every part that the arguments name and collect what is wrong with each.

    Args:
        args: The arguments.
        ask: Also ask each part what stands against it. Not if the arguments' own values are wrong:
            a part may rely on them.

    Reporters that are there only because of ``report_to="all"`` are left alone: they are loaded when
    a run begins, and one that is broken is passed over.
    """
    found = PartProblems()
    made: list[Plugin] = []
    try:
        _reporter_options(args)
    except UsageError as error:
        found.errors.append(error)
    for make in _makers(args, with_features=ask):
        try:
            part = make()
            made.append(part)
            if ask:
                found.errors.extend(problems_of(part))
                found.warnings.extend(_ask(part, "warnings"))
        except UsageError as error:
            if str(error) not in map(str, found.errors):
                found.errors.append(error)
    if ask:
        found.warnings.extend(_warn_of_idle_warmup(args, made))
    return found


def _warn_of_idle_warmup(args: TrainingArguments, parts: Iterable[Plugin]) -> Iterator[str]:
    """Say so if a warm-up was asked for that neither schedule nor optimizer makes."""
    able = [part for part in parts if isinstance(part, (SchedulerPlugin, OptimizerPlugin))]
    for argument in ("warmup_steps", "warmup_ratio"):
        value = getattr(args, argument)
        if value and able and not any(part.warms_up for part in able):
            yield (
                f"`{argument}`: {value} has no effect with "
                f"`lr_scheduler_type`={str(args.lr_scheduler_type)!r}, which does not warm up. "
                f"Type lr_scheduler_type='constant_with_warmup', or {argument}=0."
            )


def problems_of(part: Plugin) -> list[str]:
    """What a part says against itself.

    Raises:
        BrokenPluginError: It raised something else than a `UsageError` instead.
    """
    return _ask(part, "problems")


def _ask(part: Plugin, method: str) -> list[str]:
    try:
        said = getattr(part, method)()
        return [said] if isinstance(said, str) else list(said)
    except UsageError:
        raise
    except Exception as error:
        raise _failed(part.title, method, part.option, part.name, error) from error


def _makers(args: TrainingArguments, with_features: bool) -> Iterator[Any]:
    # The strategy comes first: others ask the arguments about devices and processes.
    yield lambda: args.strategy_plugin
    yield lambda: load_precision(args)
    yield lambda: load_optimizer(args)
    yield lambda: load_scheduler(args)
    for name in dict.fromkeys([*args.reporter_names, *_names_with_options(args)]):
        if name != "all":
            yield lambda name=name: load_reporter(args, name)
    from drivetrain.features import features_of  # which loads parts, too

    for feature in features_of(args) if with_features else ():
        yield lambda feature=feature: feature.load(args)
    for name in args.plugins:
        yield lambda name=name: load_plugin(args, name)


def load_optimizer(args: TrainingArguments) -> OptimizerPlugin:
    """The optimizer plugin that `optim` names, with the options in `optim_args`."""
    return _make(
        OptimizerPlugin,
        OPTIMIZER,
        args.optim,
        args,
        "optim",
        "optim_args",
        args.optim_args,
        is_default=args.is_default("optim"),
    )


def load_scheduler(args: TrainingArguments) -> SchedulerPlugin:
    """The schedule that `lr_scheduler_type` names, with the options in `lr_scheduler_kwargs`."""
    return _make(
        SchedulerPlugin,
        SCHEDULER,
        args.lr_scheduler_type,
        args,
        "lr_scheduler_type",
        "lr_scheduler_kwargs",
        args.lr_scheduler_kwargs,
        is_default=args.is_default("lr_scheduler_type"),
    )


def load_precision(args: TrainingArguments) -> PrecisionPlugin:
    """The precision that `precision`, `bf16`, `fp16` and `half_precision_backend` ask for.

    Where none does, it is what `accelerate launch` was configured with.
    """
    name, option = args.precision, "precision"
    if name == "auto":
        name = "fp16" if args.fp16 else "bf16" if args.bf16 else _launched_precision()
        option = name if name != "no" else "precision"
    if args.half_precision_backend == "apex" and name != "no":
        name, option = "apex", "half_precision_backend"
    return _make(PrecisionPlugin, PRECISION, name, args, option, is_default=name != args.precision)


def _launched_precision() -> str:
    name = os.environ.get("ACCELERATE_MIXED_PRECISION", "no").lower()
    return name if name in ("fp16", "bf16") else "no"


def load_strategy(args: TrainingArguments) -> StrategyPlugin:
    """The strategy that `strategy` names, or that other arguments or the launcher's environment ask for."""
    name, option = args.strategy, "strategy"
    if name == "auto":
        name, option = _choose_strategy(args)
    return _make(StrategyPlugin, STRATEGY, name, args, option, is_default=name != args.strategy)


def _choose_strategy(args: TrainingArguments) -> tuple[str, str]:
    """The strategy's name, and the argument that asks for it."""
    for name in ("deepspeed", "fsdp"):
        if getattr(args, name):
            return name, name
    world_size = os.environ.get("WORLD_SIZE", "1")
    return ("ddp" if world_size.isdecimal() and int(world_size) > 1 else "single"), "strategy"


def load_reporter(args: TrainingArguments, name: str) -> ReporterPlugin:
    """One of the reporters that `report_to` names, with its options in `reporter_args`."""
    given = _reporter_options(args).get(name)
    return _make(ReporterPlugin, REPORTER, name, args, "report_to", "reporter_args", given)


def _names_with_options(args: TrainingArguments) -> list[str]:
    """Reporters that are there because of "all", and that are told how to report."""
    try:
        return list(_reporter_options(args))
    except UsageError:  # which is said already
        return []


def _reporter_options(args: TrainingArguments) -> Mapping[str, Any]:
    """Options of reporters, by reporter.

    Raises:
        UsageError: They are no options by reporter, or those of one that is not named.
    """
    given = args.reporter_args or {}
    by_name = parse_options(given, option="reporter_args") if isinstance(given, str) else given
    if not isinstance(by_name, Mapping):
        raise UsageError(
            f"`reporter_args`: {given!r} is no dict of options by reporter. "
            "Type reporter_args={'wandb': {'tags': ['first']}}, say."
        )
    named = set(args.reporter_names)
    if "all" in named:
        named = named - {"all"} | set(default_registry().names(REPORTER))
    strange = [name for name in by_name if name not in named]
    if strange:
        raise UsageError(
            f"`reporter_args`: {', '.join(map(repr, strange))} is not among what `report_to` names, which is "
            f"{', '.join(sorted(named)) or 'nobody'}. Type reporter_args={{'wandb': {{'tags': ['first']}}}}, "
            "say, with names that are in `report_to`."
        )
    return by_name


def load_searcher(
    args: TrainingArguments, name: str, options: Mapping[str, Any] | None = None
) -> SearcherPlugin:
    """The searcher that ``backend`` names, with the keyword arguments that the search was given for it."""
    return _make(SearcherPlugin, SEARCHER, name, args, "backend", "hyperparameter_search", options)


def load_plugin(args: TrainingArguments, name: str) -> Plugin:
    """One of the plugins that `plugins` names."""
    return load_named_plugin(args, name, option="plugins")


def load_named_plugin(args: TrainingArguments, name: str, *, option: str) -> Plugin:
    """A plugin that only implements hooks, and that the argument ``option`` asks for."""
    return _make(Plugin, PLUGIN, name, args, option)


def load_hub(args: TrainingArguments) -> HubPlugin:
    """What pushes to a model hub: the plugin called 'hub'."""
    return _make(HubPlugin, PLUGIN, "hub", args, "push_to_hub")


def _make(
    base: type[PartT],
    kind: Kind,
    name: str,
    args: TrainingArguments,
    option: str,
    options_option: str = "",
    options: str | Mapping[str, Any] | None = None,
    *,
    is_default: bool = False,
) -> PartT:
    resolved = default_registry().load(kind, name, option=option, is_default=is_default)
    cls = _as_class(base, kind, resolved, option)
    _check_complete(cls, kind, resolved, option)
    given = read_options(cls.Options, options, option=options_option, owner=resolved.title)
    try:
        part = cls(args, given)
    except UsageError:
        raise
    except Exception as error:
        raise _failed(resolved.title, "__init__", option, name, error) from error
    part.name, part.title, part.option = name, resolved.title, option
    return part


def _failed(title: str, method: str, option: str, name: str, error: Exception) -> BrokenPluginError:
    return BrokenPluginError(
        option,
        name,
        f"leads to {title}, whose `{method}` raised {type(error).__name__}: {error}. Tell its authors, or "
        "choose another part.",
    )


def _check_complete(cls: type[Plugin], kind: Kind, resolved: Resolved, option: str) -> None:
    missing = sorted(getattr(cls, "__abstractmethods__", ()))
    if not (isinstance(cls.Options, type) and dataclasses.is_dataclass(cls.Options)):
        raise BrokenPluginError(
            option,
            resolved.name,
            f"{_origin(resolved)}leads to {cls.__name__}, whose `Options` is {cls.Options!r} "
            "and no dataclass. Tell its authors.",
        )
    if missing:
        raise BrokenPluginError(
            option,
            resolved.name,
            f"{_origin(resolved)}leads to {cls.__name__}, which is not complete: it has to implement "
            f"{' and '.join(f'`{name}`' for name in missing)}. Tell its authors, or choose another {kind}.",
        )


def _origin(resolved: Resolved) -> str:
    return f"is provided by {resolved.entry.provider} and " if resolved.entry else ""


def _as_class(base: type[PartT], kind: Kind, resolved: Resolved, option: str) -> type[PartT]:
    """The plugin class behind a name, a bare class or function being adapted to one.

    Raises:
        WrongKindError: It is neither that nor anything that can be adapted.
    """
    from drivetrain import adapters

    part = resolved.part
    if isinstance(part, type) and issubclass(part, base):
        return part
    adapted = adapters.adapt(kind, part)
    if adapted is not None:
        assert issubclass(adapted, base)
        return adapted
    raise WrongKindError(
        option,
        resolved.name,
        f"{_origin(resolved)}leads to {part!r}, which is no {kind}: {adapters.describe(kind, base)}.",
    )
