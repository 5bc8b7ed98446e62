"""Weights in the forms in which others save them."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from small import Net, are_equal, make_net

from drivetrain import UsageError
from drivetrain.checkpoint.tensors import load_tensors, load_weights, save_tensors, save_weights


def test_weights_in_shards_are_put_together(tmp_path: Path) -> None:
    saved, loaded = make_net(1), make_net(2)
    state = saved.state_dict()
    shards = {"one.safetensors": list(state)[:3], "two.safetensors": list(state)[3:]}
    for shard, names in shards.items():
        save_file({name: state[name] for name in names}, tmp_path / shard)
    index = {"weight_map": {name: shard for shard, names in shards.items() for name in names}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    load_weights(loaded, tmp_path)
    assert are_equal(saved.state_dict(), loaded.state_dict())


def test_weights_that_torch_saved_are_read_if_they_are_nothing_but_tensors(tmp_path: Path) -> None:
    saved, loaded = make_net(1), make_net(2)
    torch.save(saved.state_dict(), tmp_path / "pytorch_model.bin")
    load_weights(loaded, tmp_path)
    assert are_equal(saved.state_dict(), loaded.state_dict())
    torch.save(saved, tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"pytorch_model.bin is not read.*would run code"):
        load_weights(loaded, tmp_path)


def test_a_folder_without_weights_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="has no model.safetensors. Is it a checkpoint"):
        load_weights(make_net(), tmp_path)


def test_weights_that_are_partly_missing_are_an_error(tmp_path: Path) -> None:
    state = make_net().state_dict()
    save_file({"inner.weight": state["inner.weight"]}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"missing inner.bias, norm.weight.*not in the model nothing"):
        load_weights(make_net(), tmp_path)


def test_pickled_shards_are_put_together(tmp_path: Path) -> None:
    saved, loaded = make_net(1), make_net(2)
    for index, (name, value) in enumerate(saved.state_dict().items()):
        torch.save({name: value}, tmp_path / f"{index}.bin")
    shards = {name: f"{index}.bin" for index, name in enumerate(saved.state_dict())}
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": shards}))
    load_weights(loaded, tmp_path)
    assert are_equal(saved.state_dict(), loaded.state_dict())


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"weight_map": 1}'])
def test_an_index_of_shards_that_is_none_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(text)
    with pytest.raises(UsageError, match=r"index.json is not read: it is no list of files with weights"):
        load_weights(make_net(), tmp_path)


@pytest.mark.parametrize("is_mapped", [True, False])
def test_weights_of_another_shape_are_refused_with_their_name(is_mapped: bool, tmp_path: Path) -> None:
    state = make_net().state_dict()
    save_file({**state, "outer.bias": torch.zeros(7)}, tmp_path / "model.safetensors")
    with pytest.raises(
        UsageError, match=r"do not fit Net: size mismatch for outer.bias.*Build the model"
    ):
        load_weights(make_net(), tmp_path, is_mapped)


class Renaming(Net):
    """Saves its weights under other names; its class can make one of weights with such names."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config

    @classmethod
    def from_pretrained(
        cls, path: Any, *, config: Any, state_dict: dict[str, Any], torch_dtype: Any, **options: Any
    ) -> Any:
        assert path is None
        made = cls(config).to(torch_dtype)
        renamed = {name.removeprefix("saved."): value for name, value in state_dict.items()}
        own = made.state_dict()
        info = {
            "missing_keys": own.keys() - renamed.keys(),
            "unexpected_keys": renamed.keys() - own.keys(),
            "mismatched_keys": {
                (name, value.shape, own[name].shape)
                for name, value in renamed.items()
                if name in own and own[name].shape != value.shape
            },
        }
        if not any(info.values()):
            made.load_state_dict(renamed)
        return made, info


def saved_by_renaming(folder: Path) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    state = Renaming(types.SimpleNamespace()).state_dict()
    save_file({f"saved.{name}": value for name, value in state.items()}, folder / "model.safetensors")
    return state


@pytest.mark.parametrize("is_mapped", [True, False])
def test_weights_under_other_names_are_read_by_the_models_class(is_mapped: bool, tmp_path: Path) -> None:
    saved, loaded = saved_by_renaming(tmp_path), Renaming(types.SimpleNamespace())
    loaded.norm.to(torch.float64)
    load_weights(loaded, tmp_path, is_mapped)
    assert loaded.norm.weight.dtype == torch.float64
    assert all(torch.equal(value, saved[name].to(value)) for name, value in loaded.state_dict().items())


def test_what_does_not_fit_under_other_names_either_is_told(tmp_path: Path) -> None:
    state = saved_by_renaming(tmp_path)
    renamed = {f"saved.{name}": value for name, value in state.items()}
    renamed["saved.outer.bias"], renamed["saved.more"] = torch.zeros(7), torch.zeros(1)
    del renamed["saved.inner.bias"]
    save_file(renamed, tmp_path / "model.safetensors")
    with pytest.raises(
        UsageError,
        match=r"do not fit Renaming: missing inner.bias; not in the model more; of another shape outer.bias",
    ):
        load_weights(Renaming(types.SimpleNamespace()), tmp_path)


class OfAnotherSort(Renaming):
    """Its ``from_pretrained`` is not that of transformers."""

    @classmethod
    def from_pretrained(cls, path: Any) -> Any:  # type: ignore[override]
        raise AssertionError("it is called without what it cannot take")


def test_a_class_that_loads_in_another_way_is_left_alone(tmp_path: Path) -> None:
    saved_by_renaming(tmp_path)
    with pytest.raises(UsageError, match="do not fit OfAnotherSort: TypeError: .*unexpected keyword"):
        load_weights(OfAnotherSort(types.SimpleNamespace()), tmp_path)


def test_tensors_are_written_so_that_torch_reads_them(tmp_path: Path) -> None:
    value = {"a": torch.arange(300_000), "b": [1.5, "text", None], "c": torch.zeros(0)}
    save_tensors(value, tmp_path / "tensors.pt")
    for read in (load_tensors(tmp_path / "tensors.pt"), torch.load(tmp_path / "tensors.pt")):
        assert torch.equal(read["a"], value["a"])
        assert read["b"] == value["b"]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="file sizes cannot be limited")
def test_a_full_disk_is_an_error_of_the_system_and_leaves_no_file_open(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WRITE_TOO_MUCH, str(tmp_path)],
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.stdout.splitlines() == [
        f"{errno.EFBIG} tensors.pt",
        f"{errno.EFBIG} model.safetensors",
        f"{errno.EFBIG} model.safetensors",
        "0 files are open",
    ], done.stderr


WRITE_TOO_MUCH = """
import os, resource, sys
from pathlib import Path
import torch
from drivetrain.checkpoint.tensors import save_tensors, save_weights
folder = Path(sys.argv[1])
model = torch.nn.Sequential(*(torch.nn.Linear(300, 300) for _ in range(5)))
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, resource.RLIM_INFINITY))
for write in (
    lambda: save_tensors(model.state_dict(), folder / "tensors.pt"),
    lambda: save_weights(model, folder),
    lambda: save_weights(model, folder, model.state_dict()),
):
    try:
        write()
    except OSError as error:
        print(error.errno, os.path.relpath(error.filename, folder))
links = (f"/dev/fd/{name}" for name in os.listdir("/dev/fd"))
targets = [os.path.realpath(link) for link in links if os.path.lexists(link)]
print(sum(target.startswith(str(folder)) for target in targets), "files are open")
"""


@pytest.mark.parametrize("save", [save_weights, lambda model, folder: save_tensors({}, folder / "x.pt")])
def test_a_folder_that_is_not_there_is_an_error_of_the_system(save: Any, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="not_there"):
        save(make_net(), tmp_path / "not_there")
