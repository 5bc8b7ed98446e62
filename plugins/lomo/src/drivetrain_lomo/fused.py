"""LOMO and AdaLOMO of the libraries, with parameter groups, a `step`, and state that resumes exactly.

The libraries update what has a gradient in a function, ``grad_func``, that goes through the parameters of
a model. Here it is called for one parameter at a time, with the rate and the weight decay of its group.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.optim import Optimizer

from drivetrain.plugin import StepsInBackward
from drivetrain_lomo.library import LibraryAdaLomo, LibraryLomo


class _ParametersInHand:
    """What the libraries take for a model: its parameters are those that are updated next.

    There are none while the library's constructor looks for parameters to put hooks on.
    """

    def __init__(self, params: Any) -> None:
        self._params = params
        self.in_hand: list[torch.Tensor] = []

    def parameters(self) -> Any:
        """What the library hands to `torch.optim.Optimizer`: whole groups."""
        return self._params

    def named_parameters(self) -> list[tuple[str, torch.Tensor]]:
        """What the library updates."""
        return [("", parameter) for parameter in self.in_hand]


class UpdatesOnStep(Optimizer):
    """Mixed in before a library's optimizer: `step` updates what has a gradient, and frees that."""

    model: _ParametersInHand
    grad_func: Callable[[Any], Any]

    def __init__(self, params: Any, **settings: Any) -> None:
        initialize: Any = super().__init__
        initialize(_ParametersInHand(params), **settings)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update each parameter that has a gradient; return what ``closure`` did, if there is one."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            self._use(group)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter)
        return loss

    def _use(self, group: dict[str, Any]) -> None:
        """Have the library use what the group says, which a checkpoint may have brought."""
        self.lr = float(group["lr"])
        self.weight_decay = group.get("weight_decay", 0.0)
        self.clip_grad_value = group["clip_grad_value"]

    def _update(self, parameter: torch.Tensor) -> None:
        self.model.in_hand = [parameter]
        self.grad_func(None)
        self.model.in_hand = []


class _LomoOnStep(UpdatesOnStep, LibraryLomo):  # type: ignore[misc]
    def __init__(self, params: Any, lr: float = 1e-3, clip_grad_value: float | None = None) -> None:
        super().__init__(params, lr=lr, clip_grad_value=clip_grad_value)

    def _use(self, group: dict[str, Any]) -> None:
        super()._use(group)
        self.do_weight_decay = self.weight_decay > 0.0


class Lomo(StepsInBackward, _LomoOnStep):
    """`lomo_optim.Lomo`, stepping in backward."""


class _AdaLomoOnStep(UpdatesOnStep, LibraryAdaLomo):  # type: ignore[misc]
    """State is kept with the parameters, as in torch's optimizers, rather than by their names."""

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        eps: tuple[float, float] = (1e-30, 1e-3),
        clip_threshold: float = 1.0,
        decay_rate: float = -0.8,
        clip_grad_value: float | None = None,
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            loss_scale=0.0,  # there is none: the loss is the trainer's
            eps1=eps[0],
            eps2=eps[1],
            clip_threshold=clip_threshold,
            decay_rate=decay_rate,
            clip_grad_value=clip_grad_value,
        )
        self.defaults.update(step=0, clip_threshold=clip_threshold, decay_rate=decay_rate)
        for group in self.param_groups:
            for name, value in self.defaults.items():
                group.setdefault(name, value)

    def _use(self, group: dict[str, Any]) -> None:
        super()._use(group)
        for name in ("eps1", "eps2", "clip_threshold", "decay_rate"):
            setattr(self, name, group[name])
        self.num_steps = group["step"] + 1

    def _update(self, parameter: torch.Tensor) -> None:
        state = self.state[parameter]
        if not state:
            state.update(_make_state(parameter))
        self.exp_avg_sq = {"": state.get("exp_avg_sq")}
        self.exp_avg_sq_row = {"": state.get("exp_avg_sq_row")}
        self.exp_avg_sq_col = {"": state.get("exp_avg_sq_col")}
        super()._update(parameter)

    def state_dict(self) -> dict[str, Any]:
        """The state as torch's optimizers give it."""
        return Optimizer.state_dict(self)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take back what `state_dict` gave, in float32, which torch would turn into the weights' format."""
        Optimizer.load_state_dict(self, state_dict)
        for saved, group in zip(state_dict["param_groups"], self.param_groups, strict=True):
            for key, parameter in zip(saved["params"], group["params"], strict=True):
                for name, value in state_dict["state"].get(key, {}).items():
                    self.state[parameter][name] = value.to(parameter.device, copy=True)


class AdaLomo(StepsInBackward, _AdaLomoOnStep):
    """`pytorch_optimizer.AdaLOMO`, stepping in backward.

    Each group's ``"step"`` is the number of updates made: how fast statistics are forgotten depends on it.
    """

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update what still has a gradient, and end the update that backward began."""
        loss = super().step(closure)
        for group in self.param_groups:
            group["step"] += 1
        return loss


def _make_state(parameter: torch.Tensor) -> dict[str, torch.Tensor]:
    """Zeros: of a matrix (or a stack of them) a mean for each row and column, of a vector all elements."""
    shape = parameter.shape
    shapes = {"exp_avg_sq": shape}
    if len(shape) > 1:
        shapes = {"exp_avg_sq_row": shape[:-1], "exp_avg_sq_col": shape[:-2] + shape[-1:]}
    return {
        name: torch.zeros(of, dtype=torch.float32, device=parameter.device)
        for name, of in shapes.items()
    }
