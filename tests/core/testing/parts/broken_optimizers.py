"""One sound optimizer, and many that have one fault each: what the kit has to tell apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch.optim import Optimizer

from drivetrain.plugin import OptimizerPlugin


class Momentum(Optimizer):
    """Gradient descent with momentum and decoupled weight decay."""

    def __init__(self, params, lr=1e-3, momentum=0.9, weight_decay=0.0):
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure=None):
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self.update(parameter, parameter.grad, group)
        return loss

    def update(self, parameter, gradient, group):
        momentum = self.momentum_of(parameter)
        momentum.mul_(group["momentum"]).add_(gradient)
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.add_(momentum, alpha=-group["lr"])

    def momentum_of(self, parameter):
        state = self.state[parameter]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(parameter)
        return state["momentum"]


@dataclass(frozen=True)
class MomentumOptions:
    momentum: float = 0.9

    def __post_init__(self):
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum={self.momentum} must be in [0, 1): type 0.9, say.")


class Sound(OptimizerPlugin):
    """Momentum, without a fault."""

    Options = MomentumOptions
    paper = "Some methods of speeding up the convergence of iteration methods, Polyak 1964"
    state_bytes = 4.0
    unused_arguments = ("adam_beta1", "adam_beta2", "adam_epsilon")
    optimizer = Momentum

    def build(self):
        return self.optimizer, {"lr": self.args.learning_rate, "momentum": self.options.momentum}


class KeepsStateElsewhere(Momentum):
    def __init__(self, params, **kwargs):
        super().__init__(params, **kwargs)
        self.momenta = {}

    def momentum_of(self, parameter):
        return self.momenta.setdefault(parameter, torch.zeros_like(parameter))


class LosesState(Sound):
    """Its momentum is not in the state."""

    optimizer = KeepsStateElsewhere


class Counts(Momentum):
    count = 0

    def step(self, closure=None):
        self.count += 1
        self.param_groups[0]["momentum"] = 0.9 - 0.5 / self.count
        return super().step(closure)


class CountsElsewhere(Sound):
    """Its number of updates is not in the state."""

    optimizer = Counts


class CountsInAttribute(Momentum):
    count = 0

    @torch.no_grad()
    def step(self, closure=None):
        loss = super().step(closure)
        self.count += 1
        if self.count % 9 == 0:
            for group in self.param_groups:
                for parameter in group["params"]:
                    parameter.mul_(0.99)
        return loss


class LosesCount(Sound):
    """What it does every ninth time, it does at other times after its state was loaded."""

    optimizer = CountsInAttribute


class Demands(Momentum):
    def step(self, closure):
        return super().step(closure)


class NeedsClosure(Sound):
    """Its step needs a closure."""

    optimizer = Demands


class Note:
    """An object that no checkpoint may hold."""


class KeepsObjects(Momentum):
    def momentum_of(self, parameter):
        self.state[parameter].setdefault("note", Note())
        return super().momentum_of(parameter)


class SavesObjects(Sound):
    """Its state has to be unpickled."""

    optimizer = KeepsObjects


class KeepsFloat32(Momentum):
    def momentum_of(self, parameter):
        state = self.state[parameter]
        return state.setdefault("momentum", torch.zeros_like(parameter, dtype=torch.float32))


class RoundsStateWhenLoaded(Sound):
    """Its state is float32 where weights are bfloat16, and is not after it was loaded."""

    optimizer = KeepsFloat32


class DecaysBiases(Sound):
    """Its weight decay is that of the arguments, for every parameter."""

    def group_parameters(self, model, groups):
        return [{**group, "weight_decay": self.args.weight_decay} for group in groups]


class NeverDecays(Sound):
    """It forgets about weight decay."""

    def group_parameters(self, model, groups):
        return [{**group, "weight_decay": 0.0} for group in groups]


class Grows(Momentum):
    def update(self, parameter, gradient, group):
        super().update(parameter, gradient, {**group, "weight_decay": -group["weight_decay"]})


class DecaysTheWrongWay(Sound):
    """Its weight decay has the wrong sign."""

    optimizer = Grows


class HasRateOfItsOwn(Momentum):
    def __init__(self, params, lr=1e-3, **kwargs):
        super().__init__(params, lr=lr, **kwargs)
        self.lr = lr

    def update(self, parameter, gradient, group):
        super().update(parameter, gradient, {**group, "lr": self.lr})


class IgnoresRate(Sound):
    """It reads the rate once."""

    optimizer = HasRateOfItsOwn


class SetsRate(Momentum):
    def step(self, closure=None):
        for group in self.param_groups:
            group["lr"] = self.defaults["lr"]
        return super().step(closure)


class OverwritesRate(Sound):
    """It takes the rate back from the schedule."""

    optimizer = SetsRate


class TakesAnotherRate(Sound):
    """It does not start at the learning rate."""

    def build(self):
        return Momentum, {"lr": 2 * self.args.learning_rate, "momentum": self.options.momentum}


class DropsGroupRates(Sound):
    """It makes new groups, without what was in the old."""

    def group_parameters(self, model, groups):
        return [{"params": g["params"], "weight_decay": g["weight_decay"]} for g in groups]


class ClaimsLess(Sound):
    """It says that it needs half of what it does."""

    state_bytes = 2.0


class SaysNothing(Sound):
    """It does not say what it needs, nor where it is described."""

    state_bytes = None
    paper = ""


class Undocumented(Sound):
    __doc__ = None


class HoldsFrozen(Sound):
    """It takes the parameters from the model."""

    def group_parameters(self, model, groups):
        held = {id(parameter) for group in groups for parameter in group["params"]}
        others = [parameter for parameter in model.parameters() if id(parameter) not in held]
        return [*groups, {"params": others, "weight_decay": 0.0}] if others else groups


class TakesNoneForZero(Momentum):
    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
        return super().step(closure)


class MovesWithoutGradient(Sound):
    """It decays what has no gradient."""

    optimizer = TakesNoneForZero


class LeavesOut(Sound):
    """It drops the group that does not decay."""

    def group_parameters(self, model, groups):
        return groups[:1]


class PassesOverClosure(Momentum):
    def step(self, closure=None):
        return super().step()


class IgnoresClosure(Sound):
    """Its step calls no closure."""

    optimizer = PassesOverClosure


class CallsClosureWithoutGradients(Momentum):
    @torch.no_grad()
    def step(self, closure=None):
        loss = closure() if closure is not None else None
        super().step()
        return loss


class BlindClosure(Sound):
    """Its closure is computed without gradients."""

    optimizer = CallsClosureWithoutGradients


class StepsEarly(Momentum):
    def __init__(self, params, **kwargs):
        super().__init__(params, **kwargs)
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.register_post_accumulate_grad_hook(self.update_at_once)

    @torch.no_grad()
    def update_at_once(self, parameter):
        group = next(g for g in self.param_groups if any(p is parameter for p in g["params"]))
        self.update(parameter, parameter.grad, group)
        parameter.grad = None


class UpdatesInBackward(Sound):
    """It updates in backward and does not say so."""

    optimizer = StepsEarly


class Widens(Momentum):
    def update(self, parameter, gradient, group):
        super().update(parameter, gradient, group)
        parameter.grad = None
        parameter.data = parameter.data.float()


class WidensWeights(Sound):
    """It turns weights in bfloat16 into float32."""

    optimizer = Widens


class Ascends(Momentum):
    def update(self, parameter, gradient, group):
        super().update(parameter, -gradient, group)


class GoesUp(Sound):
    """It follows the gradient."""

    optimizer = Ascends


class DropsOptions(Sound):
    """It has an option without a use."""

    def build(self):
        return Momentum, {"lr": self.args.learning_rate}


@dataclass(frozen=True)
class RankOptions(MomentumOptions):
    rank: int = 4
    kind: Literal["left", "right"] = "left"


class IgnoresRank(Sound):
    """It has an option that it never reads."""

    Options = RankOptions

    def build(self):
        cls, kwargs = super().build()
        return cls, {**kwargs, "momentum": 0.5 if self.options.kind == "right" else kwargs["momentum"]}


class IgnoresKind(Sound):
    """It never reads one of the kind that lists its values."""

    Options = RankOptions

    def build(self):
        cls, kwargs = super().build()
        return cls, {**kwargs, "momentum": kwargs["momentum"] / self.options.rank}


@dataclass(frozen=True)
class Unchecked:
    momentum: float = 0.9


class TakesAnything(Sound):
    """It does not look at its options."""

    Options = Unchecked


@dataclass(frozen=True)
class OddDefault(MomentumOptions):
    momentum: float = None


class HasOddDefault(Sound):
    """The default of its option is not of the option's type."""

    Options = OddDefault


class SilentlyUnused(Sound):
    """It does not say that it has no use for Adam's arguments."""

    unused_arguments = ()


class HonoursUnused(Sound):
    """It says that it has no use for an argument, which it uses."""

    unused_arguments = (*Sound.unused_arguments, "optim_target_modules")
    targets_modules = True

    def group_parameters(self, model, groups):
        rates = {"lr": self.args.learning_rate / 2} if self.args.optim_target_modules else {}
        return [{**group, **rates} for group in groups]


class SaysTwice(Sound):
    """It says twice that it has no use for an argument."""

    def warnings(self):
        yield from super().warnings()
        yield from super().warnings()


class Swaps(Momentum):
    """Weights to use that are twice those to train."""

    is_training = True

    @torch.no_grad()
    def scale(self, factor):
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.mul_(factor)

    def train(self):
        if not self.is_training:
            self.scale(0.5)
        self.is_training = True

    def eval(self):
        if self.is_training:
            self.scale(2.0)
        self.is_training = False


class SoundPair(Sound):
    """Two sets of weights, without a fault."""

    optimizer = Swaps


class Forgets(Swaps):
    def eval(self):
        super().eval()
        self.state.clear()


class ForgetsInEval(Sound):
    """Its `eval` clears the state."""

    optimizer = Forgets


class HasEval(Momentum):
    def eval(self):
        """Nothing to do."""


class LacksTrain(Sound):
    """It has one method of the two."""

    optimizer = HasEval


class HasBoth(HasEval):
    def train(self):
        """Nothing to do."""


class IdlePair(Sound):
    """Its two methods do nothing."""

    optimizer = HasBoth


class CannotQuietly(Sound):
    """It cannot accumulate, and overrides what would have refused it."""

    cannot = {"gradient_accumulation": "it has no patience", "several_processes": "it is shy"}

    def problems(self):
        return ()


class NeedsAnotherMachine(Sound):
    """It runs on no machine that there is."""

    def problems(self):
        yield f"`optim`: {self.name!r} needs a device of the future, not {self.args.device.type!r}. Wait."


class NeedsArguments(Sound):
    """It refuses what the suite gives it, for a reason that lies in the suite."""

    def problems(self):
        yield "`warmup_steps`: 0 is too few. Type warmup_steps=1."
