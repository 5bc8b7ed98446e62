"""Of an optimizer: what it says of itself, its options, and the arguments that it honours."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import MISSING
from typing import Any, ClassVar, get_type_hints

import pytest
import torch

from drivetrain.arguments import TrainingArguments
from drivetrain.parts import load_optimizer
from drivetrain.plugin import OptimizerPlugin
from drivetrain.testing.leaves import attributes_of, count_state_bytes, leaves_of
from drivetrain.testing.network import make_matrix, make_network
from drivetrain.testing.option_values import other_values
from drivetrain.testing.steps import make_optimizer, take_steps, weights_of
from drivetrain.testing.suite import PartSuite, require
from drivetrain_registry import UsageError, default_registry
from drivetrain_registry.kinds import OPTIMIZER

_PUBLISHED: Mapping[str, Any] = {
    "adam_beta1": 0.5,
    "adam_beta2": 0.6,
    "adam_epsilon": 0.1,
    "adam_bias_correction": False,
    "optim_target_modules": ["hidden.0"],
}
"""Arguments of optimizers, with a value that makes a difference where there is any to make."""

_baselines: dict[tuple[type, int], list[tuple[str, str]]] = {}
"""What suites' optimizers are without a further argument, by suite and number of updates."""

_WIDTH = 1024
_TOLERANCE = 0.02


class OptimizerArguments(PartSuite):
    """What an optimizer says of itself, and what it is told.

    Attributes:
        idle_options: Options that make no difference in four updates of a small network, each with the
            reason in a sentence. Every other is tried with another value than its own.
    """

    kind = OPTIMIZER
    idle_options: ClassVar[Mapping[str, str]] = {}

    def name_part(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """`optim` and `optim_args`."""
        return {"optim": self.name, "optim_args": dict(options)}

    def load_part(self, args: TrainingArguments) -> OptimizerPlugin:
        """The optimizer plugin."""
        return load_optimizer(args)

    def test_description(self) -> None:
        """It says where its method is described, and why it cannot do what it cannot."""
        self._skip_if_bare()
        cls = self.plugin_class
        require(
            cls.paper,
            f'{cls.__name__} does not say where its method is described. Write paper = "Title, '
            'arXiv:XXXX.XXXXX", or what there is instead.',
        )
        for feature, reason in cls.cannot.items():
            require(reason.strip(), f"`cannot` of {cls.__name__} does not say why not {feature!r}.")

    def test_state_bytes(self) -> None:
        """`state_bytes` is what it keeps for each parameter of a 1024 x 1024 matrix, within 2 %."""
        self._skip_if_bare()
        targets = {"optim_target_modules": "all-linear"} if self.plugin_class.targets_modules else {}
        args = self.make_args(**targets)
        args.optim_args = {name: self.options[name] for name in self._required_options()}
        matrix = make_matrix(_WIDTH, args.device)
        optimizer = make_optimizer(matrix, args)
        for _ in range(2):
            (matrix.hidden.weight.square().sum() / 2).backward()
            optimizer.step()
            optimizer.zero_grad()
        measured = count_state_bytes(optimizer) / _WIDTH**2
        declared = self.plugin_class.state_bytes
        name = self.plugin_class.__name__
        require(declared is not None, f"{name} does not say `state_bytes`. Measured: {measured:.4g}.")
        require(
            abs(measured - declared) <= _TOLERANCE * max(measured, declared),
            f"`state_bytes` of {name} is {declared}, and {measured:.4g} bytes of state were measured "
            "for each parameter of a 1024 x 1024 matrix with default options.",
        )

    def _skip_if_bare(self) -> None:
        part = default_registry().load(self.kind, self.name).part
        if not (isinstance(part, type) and issubclass(part, OptimizerPlugin)):
            pytest.skip(
                f"{self.name!r} leads to an optimizer without a plugin, which has nowhere to say it"
            )

    def _required_options(self) -> list[str]:
        return [
            name for name in self.options if name in self.option_fields and not _has_default(self, name)
        ]

    def test_accepted_options(self) -> None:
        """Each of `accepted_options` is accepted and makes a difference."""
        for name, value in self.accepted_options.items():
            said = self.find_problems(options={name: value})
            require(not said, f"{name}={value!r} is refused: {said}")
        for name, value in self.accepted_options.items():
            require(
                self._makes_difference(options={name: value}),
                f"{name}={value!r} makes no difference: groups, attributes, state and weights after "
                "four updates are as without it. Pass the option on in `build`.",
            )

    def test_idle_options(self) -> None:
        """Every option makes a difference with another value than its own, or `idle_options` says why not."""
        fields = self.option_fields
        for name, reason in self.idle_options.items():
            require(
                name in fields,
                f"`idle_options` names {name!r}, which is no option: {', '.join(fields)}.",
            )
            require(reason.strip(), f"`idle_options` gives no reason for {name!r}: write a sentence.")
        for name in fields.keys() - self.idle_options.keys() - self.accepted_options.keys():
            values = self._find_accepted_values(name)
            require(
                not values or any(self._makes_difference(options={name: value}) for value in values),
                f"the option `{name}` makes no difference: groups, attributes, state and weights after four "
                f"updates are the same with {' and '.join(map(repr, values))}. Pass it on in `build`. If it "
                f'only matters later or elsewhere, say so in the suite: idle_options = {{"{name}": "why"}}.',
            )

    def _find_accepted_values(self, name: str) -> list[Any]:
        """Values of an option, besides its own, that the part does not refuse."""
        held = self.options.get(name, self.option_fields[name].default)
        values = other_values(held, get_type_hints(self.plugin_class.Options)[name])
        return [value for value in values if not self.find_problems(options={name: value})]

    def test_arguments(self) -> None:
        """Each published argument of optimizers makes a difference, or is said to make none, once."""
        cls = self.plugin_class
        for argument, value in _PUBLISHED.items():
            if argument in self.arguments or self.find_problems(**{argument: value}):
                continue
            part = self.load_part(self.make_args(**{argument: value}))
            times_said = sum(f"`{argument}`" in warning for warning in part.warnings())
            require(
                times_said < 2, f"that `{argument}` has no effect is said {times_said} times, not once."
            )
            is_honoured = self._makes_difference(**{argument: value})
            require(
                is_honoured or times_said,
                f"`{argument}`={value!r} makes no difference, and nobody says so. Honour it in "
                f"`build`, or add it to `unused_arguments` of {cls.__name__}.",
            )
            require(
                not (is_honoured and argument in cls.unused_arguments),
                f"`{argument}`={value!r} makes a difference. Take it out of `unused_arguments` of "
                f"{cls.__name__}.",
            )

    def _makes_difference(self, **given: Any) -> bool:
        """Whether arguments change the optimizer, or what it does in four updates, which may be to fail."""
        cls = type(self)
        for num_steps in (0, 4):
            if (cls, num_steps) not in _baselines:
                _baselines[cls, num_steps] = self._describe(num_steps)
            try:
                if _baselines[cls, num_steps] != self._describe(num_steps, **given):
                    return True
            except (UsageError, ValueError, RuntimeError, NotImplementedError):
                return True
        return False

    def _describe(self, num_steps: int, **given: Any) -> list[tuple[str, str]]:
        """An optimizer's groups, attributes and state after some updates, and the weights: as texts."""
        args = self.make_args(**given)
        model = make_network(device=args.device)
        optimizer = make_optimizer(model, args)
        take_steps(model, optimizer, range(num_steps))
        own = attributes_of(optimizer)
        shown = [optimizer.state_dict(), own, weights_of(model)]
        told = [(path, _as_text(value)) for path, value in leaves_of(shown)]
        return [(path, text) for path, text in told if text]


def _has_default(suite: OptimizerArguments, name: str) -> bool:
    field = suite.option_fields[name]
    return field.default is not MISSING or field.default_factory is not MISSING


def _as_text(value: Any) -> str:
    """A plain value or a tensor's contents; nothing for objects, which are other ones each time."""
    if isinstance(value, torch.Tensor):
        contents = value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
        return f"{value.dtype} {tuple(value.shape)} {zlib.crc32(contents)}"
    return repr(value) if isinstance(value, (bool, int, float, str, torch.dtype)) else ""
