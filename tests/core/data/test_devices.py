"""Moving, casting and cutting off nested batches."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, NamedTuple

import torch

from drivetrain.data.devices import detach, to_device, to_float32


class Pair(NamedTuple):
    first: Any
    second: Any


def nested(value: torch.Tensor) -> Any:
    return OrderedDict(a=value, b=[value, (value, "text")], c=Pair(value, None), d={"e": value})


def tensors_in(data: Any) -> list[torch.Tensor]:
    if isinstance(data, torch.Tensor):
        return [data]
    members = (
        data.values() if isinstance(data, dict) else data if isinstance(data, (list, tuple)) else []
    )
    return [tensor for member in members for tensor in tensors_in(member)]


def test_every_tensor_is_moved_and_the_structure_stays() -> None:
    moved = to_device(nested(torch.ones(2)), torch.device("meta"))
    assert [tensor.device.type for tensor in tensors_in(moved)] == ["meta"] * 5
    assert type(moved) is OrderedDict
    assert type(moved["c"]) is Pair
    assert moved["b"][1][1] == "text"
    assert moved["c"].second is None


def test_a_tensor_that_is_there_already_is_not_copied() -> None:
    here = torch.ones(2)
    assert to_device({"x": here}, torch.device("cpu"))["x"] is here


def test_copies_wait_or_do_not_as_asked() -> None:
    asked = []

    class Watched(torch.Tensor):
        def to(self, *args: Any, **options: Any) -> Any:
            asked.append(options)
            return super().to(*args, **options)

    batch = {"x": torch.ones(2).as_subclass(Watched)}
    to_device(batch, torch.device("meta"))
    to_device(batch, torch.device("meta"), non_blocking=False)
    assert asked == [{"non_blocking": True}, {"non_blocking": False}]


def test_half_precision_is_cast_and_the_rest_is_left() -> None:
    cast = to_float32(nested(torch.ones(2, dtype=torch.float16)))
    assert {tensor.dtype for tensor in tensors_in(cast)} == {torch.float32}
    assert type(cast) is OrderedDict
    assert type(cast["c"]) is Pair
    whole = torch.ones(2, dtype=torch.int64)
    assert to_float32([whole])[0] is whole


def test_what_is_detached_has_no_gradient() -> None:
    cut = detach(nested(torch.ones(2, requires_grad=True)))
    assert not any(tensor.requires_grad for tensor in tensors_in(cut))
