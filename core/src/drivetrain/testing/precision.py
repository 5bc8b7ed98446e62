"""`PrecisionSuite`: what every precision backend must pass."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import nn
from torch.optim import Optimizer

from drivetrain.arguments import TrainingArguments
from drivetrain.parts import load_precision
from drivetrain.plugin import PrecisionPlugin
from drivetrain.testing.leaves import find_difference
from drivetrain.testing.network import make_batch, make_network
from drivetrain.testing.recording import without_times
from drivetrain.testing.steps import compare_ways, find_changed, through_file, weights_of
from drivetrain.testing.suite import PartSuite, require
from drivetrain_registry.kinds import PRECISION

_MOST_OVERFLOWS = 64


class PrecisionSuite(PartSuite):
    """What every precision backend must pass.

    A whole test file::

        class TestBFloat16(PrecisionSuite):
            name = "bf16"
            dtype = torch.bfloat16

    Attributes:
        dtype: What a product of matrices is computed in.
    """

    kind = PRECISION
    dtype: ClassVar[torch.dtype] = torch.float32

    def name_part(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """`precision`."""
        return {"precision": self.name}

    def load_part(self, args: TrainingArguments) -> PrecisionPlugin:
        """The precision plugin."""
        return load_precision(args)

    def make(self) -> tuple[PrecisionPlugin, torch.device]:
        """The plugin, and the device that it is tried on."""
        args = self.make_args()
        return self.load_part(args), args.device

    def test_autocast(self) -> None:
        """Matrices are multiplied in `dtype`, and the weights stay as they are."""
        part, device = self.make()
        layer = nn.Linear(8, 8).to(device)
        with part.autocast(device):
            found = layer(torch.ones(2, 8, device=device)).dtype
        require(
            found == self.dtype,
            f"the product of two matrices is {found}, and `dtype` of the suite is {self.dtype}.",
        )
        require(
            layer.weight.dtype == torch.float32, f"`autocast` turns weights into {layer.weight.dtype}."
        )

    def test_network(self, tmp_path: Path) -> None:
        """Forty updates make the loss of a small network a tenth smaller, and weights stay float32."""
        trainer = self.make_trainer(tmp_path, max_steps=40, per_device_train_batch_size=16)
        before = trainer.evaluate()["eval_loss"]
        trainer.train()
        after = trainer.evaluate()["eval_loss"]
        require(
            after < 0.9 * before, f"a small network's loss was {before:.4g}, and {after:.4g} at the end."
        )
        dtypes = {parameter.dtype for parameter in trainer.model.parameters()}
        require(dtypes == {torch.float32}, f"weights that were float32 are {dtypes} after training.")

    def test_outputs(self, tmp_path: Path) -> None:
        """Where it says `float32_outputs`, predictions are float32."""
        if not self.plugin_class.float32_outputs:
            pytest.skip("it does not say so")
        trainer = self.make_trainer(tmp_path)
        predictions = trainer.predict(trainer.eval_dataset).predictions
        require(str(predictions.dtype) == "float32", f"predictions are {predictions.dtype}.")

    def test_gradients(self) -> None:
        """Gradients of a scaled loss, once unscaled, are those of the loss itself."""
        part, device = self.make()
        plain, scaled = make_network(device=device), make_network(device=device)
        batch = make_batch(0, device)
        plain(**batch)["loss"].backward()
        optimizer = _make_optimizer(scaled)
        part.scale(scaled(**batch)["loss"]).backward()
        part.unscale(optimizer)
        for (name, expected), found in zip(plain.named_parameters(), scaled.parameters(), strict=True):
            assert expected.grad is not None
            require(
                found.grad is not None
                and torch.allclose(found.grad, expected.grad, rtol=1e-3, atol=1e-6),
                f"the gradient of {name} is another one after `scale`, backward and `unscale`.",
            )

    def test_clipping(self, tmp_path: Path) -> None:
        """The norm that gradients are clipped by is that of the unscaled ones."""
        norms = []
        for precision in ("no", self.name):
            trainer = self.make_trainer(tmp_path, max_steps=1, precision=precision)
            trainer.train()
            norms.append(trainer.state.log_history[0]["grad_norm"])
        require(
            norms[1] == pytest.approx(norms[0], rel=0.2),
            f"the gradients' norm before clipping is {norms[1]:.4g}, and {norms[0]:.4g} without the "
            "part. `unscale` is called before gradients are clipped.",
        )

    def test_without_clipping(self, tmp_path: Path) -> None:
        """An update whose gradients are not clipped is about as good: `step` unscales what was not yet."""
        ends = []
        for precision in ("no", self.name):
            trainer = self.make_trainer(
                tmp_path, max_steps=2, max_grad_norm=0.0, optim="sgd", precision=precision
            )
            trainer.train()
            ends.append(weights_of(trainer.model))
        apart = compare_ways(weights_of(make_network()), *ends)
        require(
            apart < 0.3, f"without clipping, the weights end {apart:.0%} of their way from elsewhere."
        )

    def test_overflow(self) -> None:
        """A part that scales leaves out an update whose gradients overflow, says so, and goes on."""
        part, device = self.make()
        if float(part.scale(torch.ones((), device=device))) == 1.0:
            pytest.skip("it does not scale the loss")
        model = make_network(device=device)
        optimizer, start = _make_optimizer(model), weights_of(model)
        stepped = self._update(part, model, optimizer, float("inf"))
        require(
            stepped is False, f"`step` returns {stepped!r} when gradients overflowed, and not False."
        )
        changed = find_changed(start, weights_of(model))
        require(not changed, f"an update whose gradients overflowed changed {', '.join(changed)}.")
        for _ in range(_MOST_OVERFLOWS):
            if self._update(part, model, optimizer, 1.0):
                break
        require(
            find_changed(start, weights_of(model)),
            f"none of {_MOST_OVERFLOWS} updates after one that overflowed was made: lower the scale.",
        )

    def _update(
        self, part: PrecisionPlugin, model: nn.Module, optimizer: Optimizer, factor: float
    ) -> bool:
        device = next(model.parameters()).device
        with part.autocast(device):
            loss = model(**make_batch(0, device))["loss"] * factor
        part.scale(loss).backward()
        part.unscale(optimizer)
        stepped = part.step(optimizer)
        optimizer.zero_grad()
        return stepped

    def test_state_dict(self, tmp_path: Path) -> None:
        """The state, saved and loaded without unpickling, is the same in another instance."""
        part, device = self.make()
        model = make_network(device=device)
        optimizer = _make_optimizer(model)
        for factor in (1.0, float("inf"), 1.0):
            self._update(part, model, optimizer, factor)
        other, _ = self.make()
        other.load_state_dict(through_file(tmp_path, part.state_dict()))
        where = find_difference(part.state_dict(), other.state_dict())
        require(where is None, f"the state differs after it was saved and loaded, at {where}.")

    def test_resume(self, tmp_path: Path) -> None:
        """A run that resumes from a checkpoint ends as the one that was not interrupted, bit by bit."""
        settings: dict[str, Any] = {"max_steps": 8, "save_strategy": "steps", "save_steps": 4}
        whole = self.make_trainer(tmp_path, **settings)
        whole.train()
        resumed = self.make_trainer(tmp_path, **settings)
        resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))
        changed = find_changed(weights_of(whole.model), weights_of(resumed.model))
        require(
            not changed, f"a run resumed at update 4 of 8 ends with other weights: {', '.join(changed)}."
        )
        logged = [without_times(trainer.state.log_history) for trainer in (whole, resumed)]
        require(logged[0] == logged[1], f"a resumed run logs {logged[1]}, the whole one {logged[0]}.")


def _make_optimizer(model: nn.Module) -> Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.1)
