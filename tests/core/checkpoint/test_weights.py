"""Weights in the forms in which others save them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from small import are_equal, make_net

from drivetrain.checkpoint.tensors import load_weights


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
