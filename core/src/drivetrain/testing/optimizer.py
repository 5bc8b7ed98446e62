"""`OptimizerSuite`: what every optimizer must pass."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from drivetrain.arguments import TrainingArguments
from drivetrain.parts import problems_of
from drivetrain.testing.leaves import find_difference
from drivetrain.testing.network import make_batch, make_network
from drivetrain.testing.optimizer_steps import OptimizerSteps
from drivetrain.testing.recording import Rates, WeightsAtSteps, without_times
from drivetrain.testing.steps import Weights, compare_ways, find_changed, weights_of
from drivetrain.testing.suite import require
from drivetrain.trainer import Trainer

_REQUESTS: dict[str, dict[str, Any]] = {
    "gradient_accumulation": {"gradient_accumulation_steps": 2},
    "gradient_clipping": {"max_grad_norm": 0.5},
    "fp16": {"fp16": True},
}
"""Arguments that ask for what an optimizer may not be able to be combined with."""
_NOT_UNSCALED = (
    "If the optimizer takes gradients before they are unscaled, say so: "
    'cannot = {"fp16": "why"}, or mix in LayerwisePlugin.'
)


class OptimizerSuite(OptimizerSteps):
    """What every optimizer must pass.

    The least that a test file holds::

        class TestLion(OptimizerSuite):
            name = "lion"

    and what else can be said, in whole::

        class TestLion(OptimizerSuite):
            name = "lion"
            learning_rate = 1e-4
            options = {"betas": (0.9, 0.99)}
            arguments = {"optim_target_modules": ["hidden"]}
            accepted_options = {"betas": (0.95, 0.98)}
            refused_options = {"betas": (2.0, 0.9)}
            idle_options = {"refresh_gap": "A network is trained for fewer updates than that."}
            exempt = {"test_closures": "The library's step takes no closure."}

    Models have the modules ``embedding`` (nn.Embedding), ``hidden`` (nn.Sequential of nn.Linear of
    64 x 64, and GELU), ``norm`` (nn.LayerNorm) and ``head`` (nn.Linear).
    """

    def train(self, folder: Path, **given: Any) -> Trainer:
        """Train the kit's network with the optimizer, and return the trainer."""
        trainer = self.make_trainer(folder, **given)
        trainer.train()
        return trainer

    def test_network(self, tmp_path: Path) -> None:
        """Forty updates make the loss of a small network a tenth smaller."""
        trainer = self.make_trainer(tmp_path, max_steps=40, per_device_train_batch_size=16)
        before = trainer.evaluate()["eval_loss"]
        trainer.train()
        after = trainer.evaluate()["eval_loss"]
        require(
            after < 0.9 * before,
            f"the loss of a small network was {before:.4g} at first and {after:.4g} after 40 updates "
            f"at the rate {self.learning_rate}. If another rate suits the optimizer, give it as "
            "`learning_rate`.",
        )

    def test_learning_rate(self, tmp_path: Path) -> None:
        """The rates of all groups follow the schedule, from those that they begin with."""
        rates = Rates()
        trainer = self.make_trainer(
            tmp_path, max_steps=5, lr_scheduler_type="linear", callbacks=[rates], logging_steps=1
        )
        rates.trainer = trainer
        trainer.train()
        first = rates.seen[0]
        require(
            self.learning_rate in first,
            f"no group begins with `learning_rate`={self.learning_rate}, but with {first}. Pass "
            'self.args.learning_rate as "lr" in `build`.',
        )
        for step, seen in enumerate(rates.seen):
            expected = [rate * (1 - step / 5) for rate in first]
            require(
                seen == pytest.approx(expected, rel=1e-6),
                f"in update {step + 1} of 5 the rates are {seen}, and the schedule says {expected}. "
                "Leave group['lr'] to the schedule.",
            )

    def test_resume(self, tmp_path: Path) -> None:
        """A run that resumes from a checkpoint ends as the one that was not interrupted, bit by bit."""
        settings: dict[str, Any] = {
            "max_steps": 8,
            "lr_scheduler_type": "linear",
            "save_strategy": "steps",
            "save_steps": 4,
            "eval_strategy": "steps",
            "eval_steps": 3,
        }
        whole = self.train(tmp_path, **settings)
        resumed = self.make_trainer(tmp_path, **settings)
        resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))
        changed = find_changed(weights_of(whole.model), weights_of(resumed.model))
        require(
            not changed,
            f"a run resumed at update 4 of 8 ends with other weights: {', '.join(changed)}. See "
            "test_state_dict; what else updates depend on (a count, a random generator) has to be in "
            "the state, too.",
        )
        where = find_difference(whole.optimizer.state_dict(), resumed.optimizer.state_dict())
        require(where is None, f"a run resumed at update 4 of 8 ends with another state, at {where}.")
        logged = [without_times(trainer.state.log_history) for trainer in (whole, resumed)]
        require(logged[0] == logged[1], f"a resumed run logs {logged[1]}, the whole one {logged[0]}.")

    def test_accumulation(self, tmp_path: Path) -> None:
        """Eight samples in two micro-batches make about the same updates as eight at once."""
        self._skip_if_ruled_out("gradient_accumulation")
        at_once = self.train(tmp_path, max_steps=2)
        in_two = self.train(
            tmp_path, max_steps=2, per_device_train_batch_size=4, gradient_accumulation_steps=2
        )
        apart = compare_ways(_start(), weights_of(at_once.model), weights_of(in_two.model))
        require(
            apart < 0.1,
            f"with gradient_accumulation_steps=2 the weights end {apart:.0%} of their way from where "
            "they do without. If the optimizer cannot wait, say so: "
            'cannot = {"gradient_accumulation": "why"}, or mix in LayerwisePlugin.',
        )

    def test_gradient_clipping(self, tmp_path: Path) -> None:
        """The gradients are there to be clipped before the step."""
        self._skip_if_ruled_out("gradient_clipping")
        trainer = self.train(tmp_path, max_steps=2, max_grad_norm=1e-3)
        norms = [entry["grad_norm"] for entry in trainer.state.log_history if "grad_norm" in entry]
        require(
            norms and all(norm > 0 for norm in norms),
            f"the norms of the gradients before the step are {norms}. If the optimizer takes them in "
            'backward, say so: cannot = {"gradient_clipping": "why"}, or mix in LayerwisePlugin.',
        )

    def test_fp16(self, tmp_path: Path) -> None:
        """With autocast to float16 and scaled losses it goes about the same way."""
        self._skip_if_ruled_out("fp16")
        plain = self.train(tmp_path, max_steps=3)
        try:
            scaled = self.train(tmp_path, max_steps=3, fp16=True)
        except AssertionError as error:  # of torch's scaler, which finds no gradients
            pytest.fail(f"with fp16=True training fails: {error} {_NOT_UNSCALED}", pytrace=False)
        apart = compare_ways(_start(), weights_of(plain.model), weights_of(scaled.model))
        require(
            apart < 0.5,
            f"with fp16=True the weights end {apart:.0%} of their way from where they do without. "
            f"{_NOT_UNSCALED}",
        )

    def test_cannot(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """What it cannot be combined with is refused when the arguments are made, with the reason."""
        cannot = self.plugin_class.cannot
        for feature, request in _REQUESTS.items():
            if feature in cannot:
                said = self.find_problems(**request)
                require(
                    cannot[feature] in said,
                    f"`cannot` has {feature!r}, and {request} is not refused for that reason, but "
                    f"{said!r}. If the plugin overrides `problems`, let it begin with: yield from "
                    "super().problems()",
                )
        if "several_processes" in cannot:
            part = self.load_part(self.make_args())
            monkeypatch.setattr(TrainingArguments, "world_size", 2)
            said = " ".join(problems_of(part))
            require(cannot["several_processes"] in said, f"two processes are not refused, but {said!r}.")

    def _skip_if_ruled_out(self, feature: str) -> None:
        if feature in self.plugin_class.cannot:
            pytest.skip(f"it cannot: {self.plugin_class.cannot[feature]}")

    def test_evaluation(self, tmp_path: Path) -> None:
        """Evaluating in between leaves no trace in training, to the last bit."""
        settings: dict[str, Any] = {"max_steps": 6}
        without = self.train(tmp_path, **settings)
        between = self.train(tmp_path, **settings, eval_strategy="steps", eval_steps=2)
        changed = find_changed(weights_of(without.model), weights_of(between.model))
        require(
            not changed,
            f"a run that is evaluated every other update ends with other weights: {', '.join(changed)}. "
            "`eval` and `train` of the optimizer may change nothing but the parameters and a flag.",
        )

    def test_saved_weights(self, tmp_path: Path) -> None:
        """A checkpoint holds the weights to use, which the model has when a run ends there."""
        ended = self.train(tmp_path / "short", max_steps=3)
        seen = WeightsAtSteps()
        self.train(tmp_path, max_steps=5, save_strategy="steps", save_steps=3, callbacks=[seen])
        to_use = weights_of(ended.model)
        saved = load_file(tmp_path / "checkpoint-3" / "model.safetensors")
        changed = find_changed(to_use, saved)
        require(not changed, f"the weights in a checkpoint are not those to use: {', '.join(changed)}.")
        methods = [name for name in ("train", "eval") if callable(getattr(ended.optimizer, name, None))]
        require(len(methods) != 1, f"the optimizer has a method {methods} without its counterpart.")
        if methods:
            require(
                find_changed(seen.at[3], to_use),
                "the optimizer has methods `train` and `eval`, which do not change the weights.",
            )

    def test_bfloat16(self, tmp_path: Path) -> None:
        """A network whose weights are bfloat16 trains, and they stay so."""
        model = make_network(torch.bfloat16)
        start = weights_of(model)
        self.train(tmp_path, max_steps=6, model=model)
        dtypes = {parameter.dtype for parameter in model.parameters()}
        require(dtypes == {torch.bfloat16}, f"weights that were bfloat16 are {dtypes} after training.")
        for name, weight in weights_of(model).items():
            require(torch.isfinite(weight).all(), f"{name} is not finite after training in bfloat16.")
        require(find_changed(start, weights_of(model)), "no weight in bfloat16 moved in training.")

    def test_end_of_training(self, tmp_path: Path) -> None:
        """When a run has ended, backward through the model gives gradients and moves nothing."""
        trainer = self.train(tmp_path, max_steps=2)
        model = trainer.model
        start = weights_of(model)
        model(**make_batch(0, trainer.args.device))["loss"].backward()
        moved = find_changed(start, weights_of(model))
        require(
            not moved and all(parameter.grad is not None for parameter in model.parameters()),
            "after a run, backward through its model still updates the weights or frees gradients. "
            "Take hooks off the parameters at the end, as LayerwisePlugin does.",
        )


def _start() -> Weights:
    return weights_of(make_network())
