"""Of an optimizer: what its steps do to weights, without a trainer."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import torch

from drivetrain.optimization import decay_parameter_names
from drivetrain.testing.leaves import attributes_of, find_difference
from drivetrain.testing.network import make_batch, make_matrix, make_network
from drivetrain.testing.optimizer_arguments import OptimizerArguments
from drivetrain.testing.steps import (
    find_changed,
    make_groups,
    make_optimizer,
    take_pulls,
    take_steps,
    through_file,
    weights_of,
)
from drivetrain.testing.suite import require


class OptimizerSteps(OptimizerArguments):
    """What an optimizer's steps do to weights."""

    def make(
        self, model: torch.nn.Module | None = None, **given: Any
    ) -> tuple[Any, torch.optim.Optimizer]:
        """A model (by default the kit's network) on its device, and its optimizer."""
        args = self.make_args(**given)
        model = make_network(device=args.device) if model is None else model.to(args.device)
        return model, make_optimizer(model, args)

    def test_quadratic(self) -> None:
        """A hundred updates bring a matrix nearer to the one that is asked for."""
        matrix, optimizer = self.make(make_matrix(64))
        weight = matrix.hidden.weight
        generator = torch.Generator().manual_seed(4)
        goal = (torch.randn(64, 64, generator=generator) / 10).to(weight)
        losses = []
        for _ in range(101):
            loss = (weight - goal).square().sum() / 2
            losses.append(loss.item())
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        require(
            min(losses) < 0.95 * losses[0],
            f"half the squared distance from a goal was {losses[0]:.4g} at first and {min(losses):.4g} "
            f"at best in 100 updates at the rate {self.learning_rate}. Does each update go against the "
            "gradient? If so, give the suite another `learning_rate`.",
        )

    def test_state_dict(self, tmp_path: Path) -> None:
        """A state that was saved and loaded without unpickling gives the same further updates, bit by bit."""
        self._check_state_dict(tmp_path, torch.float32)

    def test_state_dict_bfloat16(self, tmp_path: Path) -> None:
        """So it does where the weights are bfloat16, and what it keeps may be float32."""
        self._check_state_dict(tmp_path, torch.bfloat16)

    def _check_state_dict(self, folder: Path, dtype: torch.dtype) -> None:
        model, optimizer = self.make(make_network(dtype))
        take_steps(model, optimizer, range(3))
        saved = through_file(folder, {"model": model.state_dict(), "optimizer": optimizer.state_dict()})
        take_steps(model, optimizer, range(3, 6))
        other, resumed = self.make(make_network(dtype))
        other.load_state_dict(saved["model"])
        resumed.load_state_dict(saved["optimizer"])
        take_steps(other, resumed, range(3, 6))
        changed = find_changed(weights_of(model), weights_of(other))
        require(
            not changed,
            f"three further updates with the loaded state give other weights: {', '.join(changed)}. "
            "All that updates depend on has to be in `self.state` and the groups; `load_state_dict` of "
            "torch takes the state to the dtype of the weights, so override it if yours has another.",
        )
        where = find_difference(optimizer.state_dict(), resumed.state_dict())
        require(
            where is None, f"after three further updates with the loaded state, it differs at {where}."
        )

    def test_attributes(self) -> None:
        """Numbers and tensors in its attributes go on as in the optimizer whose state was loaded."""
        model, optimizer = self.make()
        take_steps(model, optimizer, range(3))
        other, resumed = self.make()
        other.load_state_dict(model.state_dict())
        resumed.load_state_dict(deepcopy(optimizer.state_dict()))
        for each, its_optimizer in ((model, optimizer), (other, resumed)):
            take_steps(each, its_optimizer, range(3, 6))
        ours, theirs = attributes_of(optimizer), attributes_of(resumed)
        for name in ours.keys() & theirs.keys():
            both = ours[name], theirs[name]
            require(
                not isinstance(both[0], (bool, int, float, torch.Tensor))
                or find_difference(*both) is None,
                f"three updates after its state was loaded, `{name}` of the optimizer is {both[1]}, and "
                f"{both[0]} in the one that it was saved from. What updates depend on has to be in "
                "`self.state` and the groups. If they do not depend on this, say so in the suite: "
                'exempt = {"test_attributes": "why"}.',
            )

    def test_weight_decay(self) -> None:
        """Weight decay changes the weights that decay, and no biases and weights of normalization."""
        unused = "weight_decay" in self.plugin_class.unused_arguments
        ends = []
        for weight_decay in (0.0, 0.5):
            model, optimizer = self.make(weight_decay=weight_decay)
            decayed = decay_parameter_names(model)
            take_pulls(model, optimizer, range(1))
            first = weights_of(model)
            take_pulls(model, optimizer, range(1, 4))
            ends.append((first, weights_of(model)))
        (plain_first, plain), (decayed_first, end) = ends
        spoilt = [name for name in find_changed(plain_first, decayed_first) if name not in decayed]
        require(
            not spoilt,
            f"`weight_decay` changes {', '.join(spoilt)}. Take it from each group's 'weight_decay', not "
            "from the arguments: it is 0 for biases and normalization.",
        )
        untouched = [name for name in decayed if name not in find_changed(plain, end)]
        if unused:
            require(
                len(untouched) == len(decayed),
                "`weight_decay` has an effect. Take it out of `unused_arguments`.",
            )
            part = self.load_part(self.make_args(weight_decay=0.5))
            require(any("`weight_decay`" in text for text in part.warnings()), _UNSAID)
            return
        require(
            not untouched,
            f"`weight_decay` does not change {', '.join(untouched)}. Honour each group's "
            "'weight_decay', or add it to `unused_arguments`.",
        )
        norms = [
            sum(float(weights[name].square().sum()) for name in decayed) for weights in (plain, end)
        ]
        require(norms[1] < norms[0], "`weight_decay` makes weights larger: look at its sign.")

    def test_parameter_groups(self) -> None:
        """Each group has the rate that it was given, and one whose rate is set to 0 does not move."""
        model = make_network(device=self.make_args().device)
        groups = make_groups(model, 0.0)
        groups[1]["lr"] = self.learning_rate / 4
        optimizer = make_optimizer(model, self.make_args(), groups)
        own = {id(parameter) for parameter in groups[1]["params"]}
        for group in optimizer.param_groups:
            is_own = any(id(parameter) in own for parameter in group["params"])
            require(
                not is_own or float(group["lr"]) == groups[1]["lr"],
                "a group that was given a 'lr' of its own has another one: do not overwrite it.",
            )
        for position in range(len(optimizer.param_groups)):
            self._check_stopped(position)

    def _check_stopped(self, position: int) -> None:
        model, optimizer = self.make()
        names = {id(parameter): name for name, parameter in model.named_parameters()}
        for index, group in enumerate(optimizer.param_groups):
            group["lr"] = 0.0 if index == position else self.learning_rate
        start = weights_of(model)
        take_pulls(model, optimizer, range(2))
        changed = find_changed(start, weights_of(model))
        for index, group in enumerate(optimizer.param_groups):
            moved = [name for name in (names[id(p)] for p in group["params"]) if name in changed]
            if index == position:
                require(
                    not moved,
                    f"{', '.join(moved)} moved with a rate of 0. Read group['lr'] at each step: that "
                    "is where schedules write.",
                )
            else:
                require(moved, f"group {index} did not move, when group {position} had a rate of 0.")

    def test_closures(self) -> None:
        """`step(closure)` computes the closure with gradients, updates, and returns the loss."""
        model, optimizer = self.make()
        start, batch = weights_of(model), make_batch(0, next(model.parameters()).device)
        losses: list[torch.Tensor] = []

        def compute_loss() -> torch.Tensor:
            require(
                torch.is_grad_enabled(),
                "the closure is called without gradients: use torch.enable_grad().",
            )
            optimizer.zero_grad()
            loss: torch.Tensor = model(**batch)["loss"]
            loss.backward()
            losses.append(loss.detach())
            return loss

        for _ in range(2):  # some optimizers only look at the first gradient
            returned: Any = optimizer.step(compute_loss)  # type: ignore[arg-type]
            require(losses, "`step(closure)` does not call the closure.")
            value = float(returned.detach()) if isinstance(returned, torch.Tensor) else returned
            require(
                any(value == float(loss) for loss in losses),
                f"`step(closure)` returns {returned!r}, and not the closure's loss.",
            )
        require(find_changed(start, weights_of(model)), "`step(closure)` does not update the weights.")

    def test_frozen_parameters(self) -> None:
        """Frozen parameters are in no group, have no state and do not move; nor do those without gradient."""
        model = make_network()
        frozen = [model.embedding.weight, *model.hidden[0].parameters()]
        for parameter in frozen:
            parameter.requires_grad_(False)
        model, optimizer = self.make(model, weight_decay=0.1)
        start = weights_of(model)
        take_pulls(model, optimizer, range(2), inside=("hidden", "norm"))
        changed = find_changed(start, weights_of(model))
        held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        held |= {id(key) for key in optimizer.state}
        for name, parameter in model.named_parameters():
            if not parameter.requires_grad:
                require(
                    id(parameter) not in held,
                    f"{name} is frozen, and has a place in the groups or in the state. Take the "
                    "parameters from the groups that `group_parameters` is given, not from the model.",
                )
                require(name not in changed, f"{name} is frozen, and moved.")
            elif name.startswith("head"):
                require(name not in changed, f"{name} had no gradient (None), and moved: pass over it.")

    def test_moving(self) -> None:
        """Every trainable parameter moves."""
        model, optimizer = self.make()
        start = weights_of(model)
        take_pulls(model, optimizer, range(3))
        still = [name for name in start if name not in find_changed(start, weights_of(model))]
        require(
            not still,
            f"{', '.join(still)} did not move in three updates. Put every parameter into a group.",
        )


_UNSAID = (
    "`weight_decay` is in `unused_arguments`, and setting it is not said. If the plugin overrides "
    "`warnings`, let it begin with: yield from super().warnings()"
)
