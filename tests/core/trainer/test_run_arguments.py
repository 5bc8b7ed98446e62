"""Arguments of a run as a whole: its folder, its files, its memory, its random numbers, its end."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from both_trainers import make_gpt2, text_samples
from small import Net, are_equal, make_net, make_trainer, weights_of

from drivetrain import EarlyStoppingCallback, Trainer, TrainerCallback, UsageError

SAVING: dict[str, Any] = {"save_strategy": "steps", "save_steps": 2}


def checkpoints(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("checkpoint-*"))


# -- overwrite_output_dir --------------------------------------------------------------------------


class Seeing(TrainerCallback):
    """Notes which checkpoints there are after each save."""

    def __init__(self) -> None:
        self.seen: list[list[str]] = []

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.seen.append(checkpoints(Path(args.output_dir)))


def test_checkpoints_of_an_earlier_run_are_deleted_once_this_one_has_saved(tmp_path: Path) -> None:
    make_trainer(output_dir=tmp_path, num_train_epochs=2, **SAVING).train()
    assert checkpoints(tmp_path) == [f"checkpoint-{step}" for step in (10, 12, 2, 4, 6, 8)]
    seeing = Seeing()
    make_trainer(output_dir=tmp_path, overwrite_output_dir=True, callbacks=[seeing], **SAVING).train()
    assert seeing.seen[0] == ["checkpoint-2"]
    assert checkpoints(tmp_path) == ["checkpoint-2", "checkpoint-4", "checkpoint-6"]


def test_checkpoints_of_an_earlier_run_stay_if_this_one_fails_before_it_saves(tmp_path: Path) -> None:
    class Failing(Trainer):
        def training_step(self, *args: Any, **kwargs: Any) -> Any:
            raise RuntimeError("at once")

    make_trainer(output_dir=tmp_path, **SAVING).train()
    trainer = make_trainer(Failing, output_dir=tmp_path, overwrite_output_dir=True, **SAVING)
    with pytest.raises(RuntimeError, match="at once"):
        trainer.train()
    assert len(checkpoints(tmp_path)) == 3


def test_checkpoints_of_an_earlier_run_stay_and_are_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_trainer(output_dir=tmp_path, num_train_epochs=2, **SAVING).train()
    assert "of another run" not in caplog.text
    make_trainer(output_dir=tmp_path, **SAVING).train()
    assert "holds 6 checkpoints of another run (the last is checkpoint-12)" in caplog.text
    assert "overwrite_output_dir=True" in caplog.text
    assert len(checkpoints(tmp_path)) == 6


def test_a_run_that_resumes_overwrites_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make_trainer(output_dir=tmp_path, **SAVING).train()
    trainer = make_trainer(output_dir=tmp_path, num_train_epochs=2, overwrite_output_dir=True, **SAVING)
    trainer.train(resume_from_checkpoint=True)
    assert len(checkpoints(tmp_path)) == 6
    assert "of another run" not in caplog.text


# -- save_safetensors and low_cpu_mem_usage --------------------------------------------------------


def make_saving(kind: str, folder: Path, **options: Any) -> Trainer:
    """A trainer of a plain model or one of transformers that saves every second update of six."""
    data: dict[str, Any] = {"model": make_net()}
    if kind == "transformers":
        data = {"model": make_gpt2(), "train_dataset": text_samples(24), "eval_dataset": None}
    return make_trainer(output_dir=folder, **data, **SAVING, **options)


@pytest.mark.parametrize("low_cpu_mem_usage", [True, False])
@pytest.mark.parametrize("save_safetensors", [True, False])
@pytest.mark.parametrize("kind", ["plain", "transformers"])
def test_weights_are_saved_in_the_format_that_is_asked_for_and_resumed_from(
    kind: str, save_safetensors: bool, low_cpu_mem_usage: bool, tmp_path: Path
) -> None:
    options = {"save_safetensors": save_safetensors, "low_cpu_mem_usage": low_cpu_mem_usage}
    whole = make_saving(kind, tmp_path, **options)
    whole.train()
    files = {path.name for path in (tmp_path / "checkpoint-4").iterdir()}
    assert ("model.safetensors" in files) is save_safetensors
    assert ("pytorch_model.bin" in files) is not save_safetensors
    assert ("config.json" in files) is (kind == "transformers")
    resumed = make_saving(kind, tmp_path, **options)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))
    assert are_equal(weights_of(whole), weights_of(resumed))


@pytest.mark.parametrize("low_cpu_mem_usage", [True, False])
def test_mapped_weights_are_the_models_own_afterwards(low_cpu_mem_usage: bool, tmp_path: Path) -> None:
    """What is written into the file after it was read does not reach the model."""
    make_saving("plain", tmp_path).train()
    trainer = make_saving("plain", tmp_path, low_cpu_mem_usage=low_cpu_mem_usage)
    trainer.train(resume_from_checkpoint=str(tmp_path / "checkpoint-6"))
    before = weights_of(trainer)
    file = tmp_path / "checkpoint-6" / "model.safetensors"
    with file.open("r+b") as stream:
        stream.seek(-64, os.SEEK_END)
        stream.write(bytes(64))
    assert are_equal(before, weights_of(trainer))


# -- auto_find_batch_size --------------------------------------------------------------------------


class Narrow(Net):
    """Runs out of memory with more samples than its limit."""

    limit = 4

    def forward(self, x: torch.Tensor, labels: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        if self.training and len(x) > self.limit:
            raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 2 GiB.")
        return super().forward(x, labels)


def make_narrow() -> Narrow:
    torch.manual_seed(7)
    return Narrow()


@pytest.mark.parametrize("source", ["model", "model_init"])
def test_a_batch_that_fits_is_found_and_trained_as_if_it_had_been_given(source: str) -> None:
    def given() -> dict[str, Any]:
        return {"model": make_narrow()} if source == "model" else {"model_init": make_narrow}

    found = make_trainer(per_device_train_batch_size=16, auto_find_batch_size=True, **given())
    assert found.train().global_step == 6
    fresh = make_trainer(per_device_train_batch_size=4, **given())
    assert fresh.train().global_step == 6
    assert found.state.train_batch_size == 4
    assert are_equal(weights_of(found), weights_of(fresh))
    losses = [[e["loss"] for e in t.state.log_history if "loss" in e] for t in (found, fresh)]
    assert losses[0] == losses[1]


def test_each_try_is_said(caplog: pytest.LogCaptureFixture) -> None:
    make_trainer(model=make_narrow(), per_device_train_batch_size=16, auto_find_batch_size=True).train()
    said = [record.message for record in caplog.records if "Memory ran out" in record.message]
    assert [message.split("(")[0] for message in said] == [
        "Memory ran out with 16 samples a micro-batch ",
        "Memory ran out with 8 samples a micro-batch ",
    ]
    assert "starting again with 4" in said[1]


def test_memory_that_runs_out_late_starts_the_run_again(tmp_path: Path) -> None:
    class Late(Narrow):
        num_calls = 0

        def forward(self, x: Any, labels: Any = None) -> Any:
            self.num_calls += 1
            self.limit = 8 if self.num_calls < 3 else 4
            return super().forward(x, labels)

    torch.manual_seed(7)
    options: dict[str, Any] = {"output_dir": tmp_path, "save_strategy": "steps", "save_steps": 1}
    found = make_trainer(
        model=Late(), per_device_train_batch_size=8, auto_find_batch_size=True, **options
    )
    found.train()
    fresh = make_trainer(model=make_narrow(), per_device_train_batch_size=4)
    fresh.train()
    assert are_equal(weights_of(found), weights_of(fresh))
    assert [e["step"] for e in found.state.log_history if "loss" in e] == [1, 2, 3, 4, 5, 6]


def test_one_sample_that_does_not_fit_is_an_error_that_says_what_to_do() -> None:
    model = make_narrow()
    model.limit = 0
    trainer = make_trainer(model=model, per_device_train_batch_size=2, auto_find_batch_size=True)
    with pytest.raises(ValueError, match=r"`auto_find_batch_size`: not even one sample.*gradient_check"):
        trainer.train()
    assert not trainer.is_in_train


def test_another_error_is_raised_as_it_is() -> None:
    class Broken(Net):
        def forward(self, x: Any, labels: Any = None) -> Any:
            raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        make_trainer(model=Broken(), auto_find_batch_size=True).train()


def test_without_it_memory_that_runs_out_ends_the_run() -> None:
    with pytest.raises(torch.OutOfMemoryError):
        make_trainer(model=make_narrow(), per_device_train_batch_size=16).train()


def test_a_resumed_run_goes_on_with_the_batch_that_was_found(tmp_path: Path) -> None:
    options: dict[str, Any] = {
        "output_dir": tmp_path,
        "per_device_train_batch_size": 16,
        "auto_find_batch_size": True,
        **SAVING,
    }
    whole = make_trainer(model=make_narrow(), **options)
    whole.train()
    resumed = make_trainer(model=make_narrow(), **options)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert resumed.state.train_batch_size == 4
    assert are_equal(weights_of(whole), weights_of(resumed))


# -- full_determinism ------------------------------------------------------------------------------


@pytest.fixture
def deterministic_afterwards() -> Any:
    """Puts torch's switches back."""
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    environment = dict(os.environ)
    cudnn = torch.backends.cudnn.deterministic
    yield
    torch.use_deterministic_algorithms(before[0])
    torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = before[1], cudnn
    os.environ.clear()
    os.environ.update(environment)


@pytest.mark.usefixtures("deterministic_afterwards")
@pytest.mark.parametrize("is_asked_for", [True, False])
def test_deterministic_algorithms_are_used_if_that_is_asked_for(is_asked_for: bool) -> None:
    trainer = make_trainer(full_determinism=is_asked_for)
    trainer.train()
    assert torch.are_deterministic_algorithms_enabled() is is_asked_for
    if is_asked_for:
        assert torch.backends.cudnn.deterministic
        assert not torch.backends.cudnn.benchmark
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"]


@pytest.mark.usefixtures("deterministic_afterwards")
def test_it_seeds_as_a_run_without_it_does() -> None:
    drawn = []
    for full_determinism in (True, False):
        make_trainer(full_determinism=full_determinism, seed=5)
        drawn.append((random.random(), float(np.random.rand()), float(torch.rand(()))))
    assert drawn[0] == drawn[1]


# -- early_stopping_patience -----------------------------------------------------------------------


class Worsening(Trainer):
    """Each evaluation is worse than the one before."""

    num_evaluations = 0

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        self.num_evaluations += 1
        metrics = {"eval_loss": float(self.num_evaluations)}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(  # type: ignore[call-arg]  # as published
            self.args, self.state, self.control, dict(metrics)
        )
        return metrics


@pytest.mark.parametrize("patience", [1, 3])
def test_training_stops_when_evaluations_have_not_improved_for_a_while(patience: int) -> None:
    trainer = make_trainer(
        Worsening, eval_strategy="epoch", num_train_epochs=9, early_stopping_patience=patience
    )
    assert trainer.train().global_step == 6 * (1 + patience)


def test_without_a_patience_training_goes_on_to_its_end() -> None:
    assert make_trainer(Worsening, eval_strategy="epoch", num_train_epochs=3).train().global_step == 18


def test_a_callback_that_is_given_comes_before_the_argument() -> None:
    trainer = make_trainer(
        Worsening,
        eval_strategy="epoch",
        num_train_epochs=9,
        metric_for_best_model="loss",
        early_stopping_patience=5,
        callbacks=[EarlyStoppingCallback(early_stopping_patience=2)],
    )
    assert trainer.train().global_step == 18


def test_a_patience_without_evaluations_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"eval_strategy='epoch'"):
        make_trainer(early_stopping_patience=2).train()


# -- resume_from_checkpoint ------------------------------------------------------------------------


def test_a_path_given_as_an_argument_is_for_the_script_to_pass_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_trainer(output_dir=tmp_path, **SAVING).train()
    checkpoint = str(tmp_path / "checkpoint-4")
    began = []

    class Beginning(TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            began.append(state.global_step)

    trainer = make_trainer(output_dir=tmp_path, resume_from_checkpoint=checkpoint, callbacks=[Beginning])
    trainer.train(resume_from_checkpoint=trainer.args.resume_from_checkpoint)
    assert began == [4]
    assert "`resume_from_checkpoint`" not in caplog.text


def test_checkpoints_of_this_trainers_own_last_run_are_not_told_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trainer = make_trainer(output_dir=tmp_path, save_strategy="steps", save_steps=1, max_steps=1)
    for _ in range(2):
        trainer.train()
    assert "checkpoints of another run" not in caplog.text
    make_trainer(output_dir=tmp_path, max_steps=1).train()  # saves nothing, and so overwrites nothing
    assert "checkpoints of another run" not in caplog.text
    make_trainer(output_dir=tmp_path, max_steps=1, save_strategy="steps").train()
    assert "checkpoints of another run" in caplog.text


def test_arguments_of_another_library_are_refused_by_their_name() -> None:
    class TheirArguments:
        output_dir = "out"

    with pytest.raises(UsageError, match="TheirArguments are not the arguments of this trainer"):
        Trainer(make_net(), TheirArguments())  # type: ignore[arg-type]


def test_a_second_model_can_be_moved_as_published_subclasses_do() -> None:
    trainer, teacher = make_trainer(), make_net()
    trainer._move_model_to_device(teacher, torch.device("meta"))
    assert teacher.outer.weight.device.type == "meta"


def test_who_says_that_a_run_starts_anew_is_not_reminded_of_the_argument(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trainer = make_trainer(output_dir=tmp_path, resume_from_checkpoint="somewhere", max_steps=1)
    trainer.train(resume_from_checkpoint=False)
    assert "is for scripts to pass on" not in caplog.text
    trainer.train()
    assert "is for scripts to pass on" in caplog.text
