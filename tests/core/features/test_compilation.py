"""`torch_compile`, `torch_compile_backend` and `torch_compile_mode`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from small import Net, are_equal, make_args, make_net, make_trainer, weights_of

from drivetrain_registry import UsageError

EAGER: dict[str, Any] = {"torch_compile_backend": "eager"}


@pytest.fixture(autouse=True)
def forget_what_was_compiled() -> Any:
    yield
    torch.compiler.reset()


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
class TestEager:
    """The backend that computes as it is written: what comes out is the same to the last bit."""

    def test_losses_and_weights_are_those_of_the_uncompiled_model(self) -> None:
        options: dict[str, Any] = {"eval_strategy": "epoch", "num_train_epochs": 2}
        plain = make_trainer(**options)
        plain.train()
        compiled = make_trainer(**options, **EAGER)
        compiled.train()
        assert are_equal(weights_of(plain), weights_of(compiled))
        losses = [
            [e.get("loss", e.get("eval_loss")) for e in trainer.state.log_history]
            for trainer in (plain, compiled)
        ]
        assert losses[0] == losses[1]

    def test_the_model_is_really_compiled(self) -> None:
        frames: list[Any] = []

        def backend(graph: Any, inputs: Any) -> Any:
            frames.append(graph)
            return graph.forward

        torch._dynamo.register_backend(backend, name="counting_frames")
        make_trainer(torch_compile_backend="counting_frames", max_steps=3).train()
        assert 1 <= len(frames) <= 2

    def test_checkpoints_are_those_of_the_model_as_it_was_written(self, tmp_path: Path) -> None:
        options: dict[str, Any] = {"output_dir": tmp_path, "save_strategy": "steps", "save_steps": 3}
        whole = make_trainer(**options, **EAGER)
        whole.train()
        assert list(weights_of(whole)) == list(make_net().state_dict())
        for also in (EAGER, {}):
            resumed = make_trainer(output_dir=tmp_path, **also)
            resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))
            assert are_equal(weights_of(whole), weights_of(resumed))

    def test_a_compiled_model_can_be_pickled(self, tmp_path: Path) -> None:
        trainer = make_trainer(**EAGER, max_steps=1)
        trainer.train()
        torch.save(trainer.model, tmp_path / "model.pt")
        loaded = torch.load(tmp_path / "model.pt", weights_only=False)
        assert are_equal(weights_of(trainer), loaded.state_dict())

    @pytest.mark.parametrize(
        "also", [{"bf16_full_eval": True}, {"bf16": True}, {"gradient_accumulation_steps": 2}]
    )
    def test_it_goes_with_other_arguments(self, also: dict[str, Any]) -> None:
        options: dict[str, Any] = {"eval_strategy": "epoch", **also}
        plain = make_trainer(**options)
        plain.train()
        compiled = make_trainer(**options, **EAGER)
        compiled.train()
        assert are_equal(weights_of(plain), weights_of(compiled))
        assert plain.evaluate()["eval_loss"] == compiled.evaluate()["eval_loss"]

    def test_models_of_transformers_are_compiled_with_noise_and_recomputation(self) -> None:
        import both_trainers as both

        options: dict[str, Any] = {
            "train_dataset": both.text_samples(),
            "max_steps": 3,
            "neftune_noise_alpha": 5.0,
        }
        plain = make_trainer(model=both.make_gpt2(), **options)
        plain.train()
        options.update(torch_compile_backend="aot_eager", gradient_checkpointing=True)
        compiled = make_trainer(model=both.make_gpt2(), **options)
        compiled.train()
        assert are_equal(weights_of(plain), weights_of(compiled))

    def test_a_model_of_transformers_is_saved_and_loaded(self, tmp_path: Path) -> None:
        import both_trainers as both

        trainer = make_trainer(
            model=both.make_gpt2(), train_dataset=both.text_samples(), max_steps=1, **EAGER
        )
        trainer.train()
        trainer.save_model(tmp_path / "model")
        loaded = type(trainer.model).from_pretrained(tmp_path / "model")
        assert are_equal(weights_of(trainer), loaded.state_dict())


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("mode", [None, "default"])
def test_inductor_gives_the_same_but_for_rounding(mode: str | None) -> None:
    plain = make_trainer(model=make_net(dropout=0.0), max_steps=3)
    compiled = make_trainer(
        model=make_net(dropout=0.0), max_steps=3, torch_compile=True, torch_compile_mode=mode
    )
    plain.train()
    compiled.train()
    for name, weight in weights_of(plain).items():
        torch.testing.assert_close(weights_of(compiled)[name], weight, rtol=1e-4, atol=1e-5)


def test_a_backend_that_there_is_not_is_refused_with_those_there_are() -> None:
    with pytest.raises(UsageError, match="'indutcor' is no backend.*'aot_eager'.*'inductor'"):
        make_args(torch_compile_backend="indutcor")


def test_a_mode_that_there_is_not_is_refused_with_those_there_are() -> None:
    with pytest.raises(UsageError, match="'fast' is no mode.*'max-autotune'"):
        make_args(torch_compile_mode="fast")


def test_a_mode_of_inductor_is_refused_for_other_backends() -> None:
    with pytest.raises(UsageError, match="'max-autotune' is a mode of the backend 'inductor'"):
        make_args(torch_compile_backend="eager", torch_compile_mode="max-autotune")


def test_recomputation_is_refused_with_the_backend_that_gets_it_wrong() -> None:
    with pytest.raises(UsageError, match="'eager' draws other random numbers .*'aot_eager'"):
        make_args(gradient_checkpointing=True, **EAGER)


def test_a_missing_compiler_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(
        UsageError, match="needs a C\\+\\+ compiler, and 'no-such-compiler' is not found"
    ):
        make_args(torch_compile=True)
    assert make_args(**EAGER).torch_compile is True


def test_checking_the_arguments_does_not_import_torchs_compiler() -> None:
    code = (
        "import sys\nfrom drivetrain import TrainingArguments\n"
        "TrainingArguments('out', use_cpu=True, report_to='none', torch_compile=True, "
        "torch_compile_mode='default')\n"
        "raise SystemExit('torch._dynamo' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_modules_that_are_recomputed_can_be_compiled() -> None:
    class Recomputing(Net):
        gradient_checkpointing_modules = ("inner", "outer", "Dropout")

    def train(**options: Any) -> Any:
        torch.manual_seed(7)
        trainer = make_trainer(model=Recomputing(), max_steps=4, **options)
        trainer.train()
        return weights_of(trainer)

    compiled = train(torch_compile_backend="aot_eager", gradient_checkpointing=True)
    assert are_equal(train(), compiled)
