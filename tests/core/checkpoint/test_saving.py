"""Saving: in the background, over an earlier checkpoint, beside plugins, and what else happens meanwhile."""

from __future__ import annotations

import json
import logging
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from small import are_equal, make_net, make_samples, make_trainer, weights_of

from drivetrain import ExportableState, Trainer, TrainerCallback, UsageError
from drivetrain.checkpoint.layout import list_checkpoints
from drivetrain.checkpoint.reading import find_damage
from drivetrain.checkpoint.snapshot import HostCopies
from drivetrain.plugin import Plugin, hookimpl

STEPS: dict[str, Any] = {"save_strategy": "steps", "save_steps": 2}


def contents_of(checkpoint: Path) -> dict[str, bytes]:
    """The files whose content is to be the same however they were written."""
    names = ["model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth"]
    return {name: (checkpoint / name).read_bytes() for name in names}


def test_checkpoints_written_in_the_background_are_those_of_the_foreground(tmp_path: Path) -> None:
    for folder, is_async in (("now", False), ("later", True)):
        make_trainer(
            output_dir=tmp_path / folder, async_save=is_async, num_train_epochs=2, **STEPS
        ).train()
    for checkpoint in list_checkpoints(tmp_path / "now"):
        other = tmp_path / "later" / checkpoint.name
        assert find_damage(other) is None
        assert contents_of(other) == contents_of(checkpoint), checkpoint.name
    assert len(list_checkpoints(tmp_path / "later")) == 6


class HoldsUp(TrainerCallback):
    """Lets the disk go on at a later update, and notes what `on_save` is told."""

    def __init__(self, release_at: int) -> None:
        self.release_at = release_at
        self.saves: list[tuple[int, int, bool]] = []
        self.disk: Any = None

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == self.release_at:
            self.disk.set()

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        target = Path(args.output_dir, f"checkpoint-{state.global_step}")
        self.saves.append(
            (state.global_step, len(state.log_history), (target / "manifest.json").is_file())
        )


class WaitingNet(type(make_net())):  # type: ignore[misc]
    """A model whose weights are written when its disk is ready."""

    disk: Any = None
    threads: list[str] = []

    def save_pretrained(self, folder: str, state_dict: Any = None) -> None:
        from safetensors.torch import save_file

        assert self.disk.wait(60)
        self.threads.append(threading.current_thread().name)
        save_file(
            {name: value.clone() for name, value in (state_dict or self.state_dict()).items()},
            f"{folder}/model.safetensors",
        )


def test_training_goes_on_while_a_checkpoint_is_written_and_on_save_comes_when_it_is_whole(
    tmp_path: Path,
) -> None:
    model, holds_up = WaitingNet(), HoldsUp(release_at=3)
    model.disk = holds_up.disk = threading.Event()
    weights_at_two: dict[str, torch.Tensor] = {}

    class Remember(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == 2:
                weights_at_two.update(
                    {name: value.clone() for name, value in model.state_dict().items()}
                )

    trainer = make_trainer(
        model=model, output_dir=tmp_path, async_save=True, callbacks=[holds_up, Remember()], **STEPS
    )
    trainer.train()
    assert holds_up.saves == [(2, 2, True), (4, 4, True), (6, 6, True)]  # the state is the checkpoint's
    assert all(name.startswith("drivetrain-checkpoint-") for name in model.threads)
    assert are_equal(load_file(tmp_path / "checkpoint-2" / "model.safetensors"), weights_at_two)


def test_an_error_in_the_background_reaches_the_run(tmp_path: Path) -> None:
    class Failing(WaitingNet):
        def save_pretrained(self, folder: str, state_dict: Any = None) -> None:
            raise TypeError("no such weights")

    model = Failing()
    trainer = make_trainer(model=model, output_dir=tmp_path, async_save=True, **STEPS)
    with pytest.raises(TypeError, match="no such weights"):
        trainer.train()
    assert trainer.state.global_step in (2, 3, 4)
    assert [path.name for path in tmp_path.glob("*checkpoint*")] == []


def test_a_trainer_that_saves_its_model_in_its_own_way_is_heard_and_told_that_it_waits(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Own(Trainer):
        def save_model(self, output_dir: Any = None, _internal_call: bool = False) -> None:
            assert threading.current_thread() is threading.main_thread()
            super().save_model(output_dir, _internal_call)
            Path(output_dir, "own.txt").write_text("mine")

    trainer = make_trainer(Own, output_dir=tmp_path, async_save=True, **STEPS)
    trainer.train()
    assert (tmp_path / "checkpoint-4" / "own.txt").is_file()
    assert find_damage(tmp_path / "checkpoint-4") is None
    assert caplog.text.count("`async_save`: Own.save_model cannot be handed a copy") == 1


def test_tied_weights_are_copied_once_and_saved_once(tmp_path: Path) -> None:
    def tied() -> Any:
        model = make_net()
        model.inner2 = torch.nn.Linear(6, 16)
        model.inner2.weight = model.inner.weight
        return model

    for folder, is_async in (("now", False), ("later", True)):
        make_trainer(model=tied(), output_dir=tmp_path / folder, async_save=is_async, **STEPS).train()
    names = [
        set(load_file(tmp_path / folder / "checkpoint-4" / "model.safetensors"))
        for folder in ("now", "later")
    ]
    assert names[0] == names[1]
    assert len([name for name in names[1] if name.startswith("inner") and name.endswith("weight")]) == 1
    resumed = make_trainer(model=tied(), output_dir=tmp_path / "later", **STEPS)
    resumed.train(resume_from_checkpoint=True)
    assert resumed.model.inner2.weight is resumed.model.inner.weight


def test_copies_use_the_same_memory_again_and_keep_what_is_one() -> None:
    copies, weight = HostCopies(), torch.randn(4, 4)
    value = {"a": weight, "b": weight, "part": weight[:2], "number": 3, "list": [weight + 1, "text"]}
    first = copies.take(value, "value")
    copies.finish()
    assert first["a"] is first["b"]
    assert torch.equal(first["part"], weight[:2])
    weight.zero_()
    assert first["a"].abs().sum() > 0  # a copy
    second = copies.take(value, "value")
    assert second["a"] is first["a"]
    assert second["a"].abs().sum() == 0
    assert second["list"][1] == "text"


def test_a_plugin_may_not_take_the_name_of_a_file_of_the_checkpoint(tmp_path: Path) -> None:
    for name, is_async in (("optimizer.pt", False), ("optimizer.pt", True), ("progress.json", False)):

        class Greedy(Plugin):
            file = name

            @hookimpl
            def write_checkpoint(self, folder: Path) -> None:
                (folder / self.file).write_text("mine")

        trainer = make_trainer(output_dir=tmp_path, async_save=is_async, **STEPS)
        trainer._plugins.append(Greedy(trainer.args))
        trainer._listen()
        with pytest.raises(UsageError, match=rf"`write_checkpoint` of one of them wrote {name}"):
            trainer.train()
        assert list_checkpoints(tmp_path) == []


def test_what_was_being_replaced_when_a_process_was_killed_is_put_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = make_trainer(output_dir=tmp_path, **STEPS)
    whole.train()
    (tmp_path / "checkpoint-6").rename(tmp_path / ".replaced-checkpoint-6-0a1b2c3d")
    resumed = make_trainer(output_dir=tmp_path, **STEPS)
    resumed.train(resume_from_checkpoint=True)
    assert "checkpoint-6 back: an interrupted process was about to replace it" in caplog.text
    assert are_equal(weights_of(whole), weights_of(resumed))
    (tmp_path / "checkpoint-4").rename(tmp_path / ".replaced-checkpoint-4-0a1b2c3d")
    (tmp_path / "checkpoint-4").mkdir()
    make_trainer(output_dir=tmp_path, **STEPS).train()
    assert not list(tmp_path.glob(".replaced*"))


def test_a_callback_that_saves_at_a_time_of_its_own_can_be_resumed_from(tmp_path: Path) -> None:
    class SavesAtThree(TrainerCallback):
        trainer: Any = None

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == 3:
                self.trainer.save_checkpoint()

    callback = SavesAtThree()
    whole = make_trainer(output_dir=tmp_path, callbacks=[callback])
    callback.trainer = whole
    whole.train()
    resumed = make_trainer(model=make_net(seed=5), output_dir=tmp_path)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))
    assert are_equal(weights_of(whole), weights_of(resumed))


def test_the_manifest_says_what_there_is_and_sums_itself_up(tmp_path: Path) -> None:
    from drivetrain.checkpoint.manifest import checksum_of

    make_trainer(output_dir=tmp_path, **STEPS).train()
    manifest = json.loads((tmp_path / "checkpoint-4" / "manifest.json").read_text())
    assert manifest["contents"] == ["model", "state", "optimizer", "schedule", "random_state"]
    assert set(manifest["versions"]) == {"drivetrain", "torch", "python"}
    assert manifest["checksum"] == checksum_of(manifest)


def test_an_output_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(UsageError, match=r"`output_dir`: .*cannot be made.*Type another one"):
        make_trainer(output_dir=tmp_path / "file" / "out")


def test_state_of_a_callback_is_that_of_the_checkpoint_though_it_is_written_later(
    tmp_path: Path,
) -> None:
    class Counting(TrainerCallback, ExportableState):
        count = 0

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.count += 1

        def state(self) -> dict[str, Any]:
            return {"args": {}, "attributes": {"count": self.count}}

    make_trainer(output_dir=tmp_path, async_save=True, callbacks=[Counting()], **STEPS).train()
    for step in (2, 4, 6):
        state = json.loads((tmp_path / f"checkpoint-{step}" / "trainer_state.json").read_text())
        assert state["stateful_callbacks"]["Counting"]["attributes"] == {"count": step}
        assert state["global_step"] == step


def test_the_next_save_waits_for_the_one_before(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = WaitingNet()
    model.disk = threading.Event()
    threading.Timer(0.3, model.disk.set).start()
    with caplog.at_level(logging.INFO, logger="drivetrain"):
        make_trainer(model=model, output_dir=tmp_path, async_save=True, **STEPS).train()
    assert "Waiting for checkpoint-2 to be written" in caplog.text
    assert [path.name for path in list_checkpoints(tmp_path)] == [
        "checkpoint-2",
        "checkpoint-4",
        "checkpoint-6",
    ]


def test_a_checkpoint_that_transformers_saved_over_is_taken_as_theirs(tmp_path: Path) -> None:
    import transformers
    from both_trainers import COMMON

    whole = make_trainer(output_dir=tmp_path, **STEPS)
    whole.train()
    arguments = {**COMMON, "per_device_train_batch_size": 4, "learning_rate": 1e-2, **STEPS}
    theirs = transformers.Trainer(
        model=make_net(seed=3),
        args=transformers.TrainingArguments(str(tmp_path), **{**arguments, "num_train_epochs": 1}),
        train_dataset=make_samples(),
    )
    theirs.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert (tmp_path / "checkpoint-4" / "progress.json").is_file()  # of ours, which was there before
    resumed = make_trainer(model=make_net(seed=5), output_dir=tmp_path, num_train_epochs=2, **STEPS)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))
    assert resumed.state.global_step == 12
    (tmp_path / "checkpoint-4" / "model.safetensors").write_bytes(b"half")
    with pytest.raises(UsageError, match="model.safetensors is not readable"):
        make_trainer(output_dir=tmp_path).train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))
