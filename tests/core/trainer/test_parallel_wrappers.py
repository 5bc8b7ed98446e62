"""Models that come wrapped in DataParallel or DistributedDataParallel train and are saved as without."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file
from small import Net, are_equal, make_net, make_samples, make_trainer
from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

from drivetrain import Trainer, TrainerCallback, UsageError

Wrap = Callable[[nn.Module], nn.Module]
RUN: dict[str, Any] = {"max_steps": 6, "save_strategy": "steps", "save_steps": 3, "seed": 3}


class Halves(DataParallel):  # type: ignore[type-arg]
    """Divides batches as over two devices, which a machine without them can do, too."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__(module)
        self.device_ids = [0, 1]

    def forward(self, **inputs: Any) -> Any:
        halves = [{k: v.chunk(2)[part] for k, v in inputs.items()} for part in range(2)]
        outputs = [self.module(**half) for half in halves]
        if isinstance(outputs[0], torch.Tensor):
            return torch.stack(outputs)
        return {
            "loss": torch.stack([one["loss"] for one in outputs]),
            "logits": torch.cat([one["logits"] for one in outputs]),
        }


class LossOnly(Net):
    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return super().forward(x, labels)["loss"]


class TakesCount(Net):
    """Divides its loss by the labels of the whole update, as transformers' models do."""

    def forward(self, x: Any, labels: Any = None, **kwargs: Any) -> dict[str, torch.Tensor]:  # type: ignore[override]
        outputs = super().forward(x, labels)
        if "num_items_in_batch" in kwargs:
            outputs["loss"] = outputs["loss"] * len(labels) / kwargs["num_items_in_batch"]
        return outputs


class SavesItself(Net):
    def save_pretrained(self, folder: str, state_dict: Any = None) -> None:
        save_file(self.state_dict() if state_dict is None else state_dict, f"{folder}/model.safetensors")
        Path(folder, "config.json").write_text("{}")


@pytest.fixture(scope="module")
def process_group(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    store = dist.FileStore(str(tmp_path_factory.mktemp("group") / "store"), 1)
    dist.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.fixture(params=["DataParallel", "DistributedDataParallel"])
def wrap(request: pytest.FixtureRequest) -> Wrap:
    if request.param == "DataParallel":
        return DataParallel
    request.getfixturevalue("process_group")
    return DistributedDataParallel


def make_run(model: nn.Module, folder: Path, **given: Any) -> Trainer:
    return make_trainer(model=model, output_dir=folder, **{**RUN, **given})


def weights_inside(trainer: Trainer) -> dict[str, torch.Tensor]:
    model = trainer.model
    inner = model.module if isinstance(model, (DataParallel, DistributedDataParallel)) else model
    return {name: value.clone() for name, value in inner.state_dict().items()}


def test_a_wrapped_model_trains_and_is_evaluated_as_without(wrap: Wrap, tmp_path: Path) -> None:
    samples = [{**sample, "comment": "not for the model"} for sample in make_samples()]
    data = {"train_dataset": samples, "eval_dataset": samples[:10]}
    ends = []
    for model in (make_net(), wrap(make_net())):
        trainer = make_run(model, tmp_path, **data)
        assert trainer.label_names == ["labels"]
        assert not trainer.model_accepts_loss_kwargs
        trainer.train()
        ends.append((weights_inside(trainer), trainer.evaluate()["eval_loss"]))
    assert are_equal(ends[0][0], ends[1][0])
    assert ends[0][1] == ends[1][1]


def test_a_wrapped_model_that_divides_its_loss_itself_is_told_by_what(
    wrap: Wrap, tmp_path: Path
) -> None:
    ends = []
    for model in (make(TakesCount), wrap(make(TakesCount))):
        trainer = make_run(model, tmp_path, gradient_accumulation_steps=2)
        assert trainer.model_accepts_loss_kwargs
        trainer.train()
        ends.append(weights_inside(trainer))
    assert are_equal(*ends)


def make(cls: type[Net], dropout: float = 0.0) -> Net:
    torch.manual_seed(7)
    return cls(dropout=dropout)


FORMS: list[dict[str, Any]] = [{}, {"async_save": True}, {"save_safetensors": False}]


@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize("is_wrapped_first", [True, False])
def test_a_checkpoint_of_the_one_is_gone_on_with_by_the_other_exactly(
    wrap: Wrap, form: dict[str, Any], is_wrapped_first: bool, tmp_path: Path
) -> None:
    first, second = (wrap, _as_it_is) if is_wrapped_first else (_as_it_is, wrap)
    whole = make_run(first(make_net()), tmp_path / "whole", **form)
    whole.train()
    resumed = make_run(second(make_net(seed=8)), tmp_path / "resumed", **form)
    resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-3"))
    assert are_equal(weights_inside(resumed), weights_inside(whole))


def _as_it_is(model: nn.Module) -> nn.Module:
    return model


class LeavesAPassWithinAnUpdate(TrainerCallback):
    """Its gradients wait for more micro-batches, and are saved meanwhile."""

    def on_substep_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        control.should_epoch_stop = state.global_step == 1

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        control.should_save = state.global_step == 1


def test_gradients_that_wait_are_taken_up_by_the_other(tmp_path: Path) -> None:
    given = {"gradient_accumulation_steps": 2, "max_steps": 4, "save_strategy": "no"}
    callbacks = {"callbacks": [LeavesAPassWithinAnUpdate()]}
    whole = make_run(DataParallel(make_net()), tmp_path / "whole", **given, **callbacks)
    whole.train()
    checkpoint = tmp_path / "whole" / "checkpoint-1"
    assert (checkpoint / "gradients.pt").is_file()
    resumed = make_run(make_net(seed=8), tmp_path / "resumed", **given, **callbacks)
    resumed.train(resume_from_checkpoint=str(checkpoint))
    assert are_equal(weights_inside(resumed), weights_inside(whole))


def test_weights_to_train_are_kept_for_the_other_too(tmp_path: Path) -> None:
    given = {"optim": "schedule_free_adamw", "max_grad_norm": 0.0}
    whole = make_run(DataParallel(make_net()), tmp_path / "whole", **given)
    whole.train()
    resumed = make_run(make_net(seed=8), tmp_path / "resumed", **given)
    resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-3"))
    assert are_equal(weights_inside(resumed), weights_inside(whole))


def test_a_wrapped_model_is_saved_in_its_own_way_with_its_own_names(tmp_path: Path) -> None:
    for number, given in enumerate(({}, {"async_save": True})):
        trainer = make_run(DataParallel(make(SavesItself)), tmp_path / str(number), **given)
        trainer.train()
        folder = tmp_path / str(number) / "checkpoint-6"
        assert (folder / "config.json").is_file()
        assert are_equal(load_file(folder / "model.safetensors"), weights_inside(trainer))


@pytest.mark.parametrize("wrap", [DataParallel, _as_it_is])
def test_weights_that_were_saved_with_the_names_of_the_wrapper_are_read(
    wrap: Wrap, tmp_path: Path
) -> None:
    whole = make_run(make_net(), tmp_path / "whole")
    whole.train()
    checkpoint = tmp_path / "whole" / "checkpoint-3"
    (checkpoint / "manifest.json").unlink()  # the published trainer writes none
    weights = load_file(checkpoint / "model.safetensors")
    save_file(
        {f"module.{name}": value for name, value in weights.items()}, checkpoint / "model.safetensors"
    )
    resumed = make_run(wrap(make_net(seed=8)), tmp_path / "resumed")
    resumed.train(resume_from_checkpoint=str(checkpoint))
    assert are_equal(weights_inside(resumed), weights_inside(whole))


def test_a_module_called_module_keeps_its_name(tmp_path: Path) -> None:
    class Outer(nn.Module):
        def __init__(self, seed: int) -> None:
            super().__init__()
            self.module = make_net(seed)

        def forward(self, x: torch.Tensor, labels: torch.Tensor) -> Any:
            return self.module(x, labels)

    whole = make_run(Outer(7), tmp_path / "whole")
    whole.train()
    resumed = make_run(Outer(8), tmp_path / "resumed")
    resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-3"))
    ends = [dict(trainer.model.state_dict()) for trainer in (whole, resumed)]
    assert are_equal(*ends)
    assert all(name.startswith("module.") for name in ends[0])


@pytest.mark.parametrize("cls", [Net, LossOnly, TakesCount])
def test_losses_of_several_devices_count_as_that_of_the_batch(cls: type[Net], tmp_path: Path) -> None:
    ends = []
    for model in (make(cls), Halves(make(cls))):
        trainer = make_run(model, tmp_path, gradient_accumulation_steps=2, max_steps=3)
        trainer.train()
        ends.append(weights_inside(trainer))
    for name, value in ends[0].items():
        torch.testing.assert_close(ends[1][name], value, msg=name)


def test_a_batch_without_a_key_for_the_model_names_the_model_within() -> None:
    trainer = make_trainer(model=DataParallel(make_net()), train_dataset=[{"y": 1.0}])
    with pytest.raises(UsageError, match=r"one of Net\.forward \(x, labels\)"):
        trainer.train()


@pytest.mark.slow  # imports an optimizer's library
def test_targets_are_named_as_in_the_model_within() -> None:
    trainer = make_trainer(
        model=DataParallel(make_net()),
        optim="galore_adamw",
        optim_target_modules=["inner"],
        max_steps=1,
    )
    trainer.train()
    ranks = [group for group in trainer.optimizer.param_groups if "rank" in group]
    assert [p.shape for group in ranks for p in group["params"]] == [(16, 6)]
