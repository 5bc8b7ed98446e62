"""A device that is none: torch takes it for an accelerator, it computes on the CPU, and it sees who reads.

It is torch's backend for devices of one's own (PrivateUse1). Whatever is done with one of its tensors comes
to one function here, and a tensor's numbers are nowhere but in a table that this function has: a read that it
does not see is a read that cannot be made. Once `install` was called the process has an accelerator.
"""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils._pytree import tree_leaves, tree_map

NAME = "phantom"
READS = {"aten::_local_scalar_dense", "aten::equal", "aten::is_nonzero", "aten::nonzero"}
"""Operations whose result, or its shape, is a number on the host."""


@dataclass(frozen=True)
class Read:
    """One read from the device.

    Attributes:
        moment: What `Phantom.moment` was.
        operation: The name of torch's operation.
        where: The calls that led to it, the innermost last, without those in torch.
    """

    moment: int
    operation: str
    where: list[str]


class Phantom:
    """The device.

    Attributes:
        moment: Which part of the run this is; set from outside.
        reads: Those that were made.
    """

    def __init__(self) -> None:
        self.moment = 0
        self.reads: list[Read] = []
        self._numbers: dict[int, torch.Tensor] = {}  # by what is the same for a tensor and its `detach`

    def wrap(self, numbers: torch.Tensor) -> torch.Tensor:
        """A tensor of this device. Its layout is contiguous, and so is that of its numbers."""
        tensor: torch.Tensor = torch._C._acc.create_empty_tensor(numbers.shape, numbers.dtype)
        self._numbers[tensor.untyped_storage()._cdata] = numbers.contiguous()
        return tensor

    def unwrap(self, thing: Any) -> Any:
        """What stands on the CPU for a tensor, or for the device itself; anything else as it is."""
        if isinstance(thing, torch.device):
            return torch.device("cpu")
        return self._numbers_of(thing) if _is_ours(thing) else thing

    def run(self, operation: Any, *args: Any, **kwargs: Any) -> Any:
        """Do an operation on the CPU; what is written into a tensor of this device stays in it."""
        name, device = operation.name(), kwargs.get("device")
        if name.startswith("aten::_copy_from"):
            return self._copy(name, *args[:2])
        is_read = device is not None and device.type == "cpu"
        if is_read or name in READS:
            self._note(name)
        ours = {id(self._numbers_of(t)): t for t in tree_leaves((args, kwargs)) if _is_ours(t)}
        with torch._C._AutoDispatchBelowAutograd():
            result = operation(*tree_map(self.unwrap, args), **tree_map(self.unwrap, kwargs))
        for tensor in ours.values():
            if tensor.shape != self._numbers_of(tensor).shape:  # what was made empty, to be filled
                tensor.data = self.wrap(self._numbers_of(tensor))

        def take_back(value: Any) -> Any:
            if not isinstance(value, torch.Tensor) or is_read:
                return value
            return ours[id(value)] if id(value) in ours else self.wrap(value)

        return tree_map(take_back, result)

    def _copy(self, name: str, source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        if not _is_ours(target):
            self._note(name)
        self.unwrap(target).copy_(self.unwrap(source))
        return target

    def _numbers_of(self, tensor: torch.Tensor) -> torch.Tensor:
        return self._numbers[tensor.untyped_storage()._cdata]

    def _note(self, operation: str) -> None:
        """Note who reads."""
        torch_folder = str(Path(torch.__file__).parent)
        calls = [
            call for call in traceback.extract_stack()[:-2] if not call.filename.startswith(torch_folder)
        ]
        where = [f"{Path(call.filename).name}:{call.lineno} {call.name}" for call in calls[-4:]]
        self.reads.append(Read(self.moment, operation, where))


def _is_ours(thing: Any) -> bool:
    return isinstance(thing, torch.Tensor) and thing.device.type == NAME


class _Module:
    """What torch asks of ``torch.phantom``."""

    is_initialized = is_available = staticmethod(lambda: True)
    _is_in_bad_fork = staticmethod(lambda: False)
    current_device = staticmethod(lambda: 0)
    device_count = staticmethod(lambda: 1)
    get_amp_supported_dtype = staticmethod(lambda: [torch.bfloat16, torch.float16])
    manual_seed_all = staticmethod(lambda seed: None)
    set_device = synchronize = empty_cache = staticmethod(lambda *args: None)


def install() -> Phantom:
    """Give this process the device ``phantom:0``; once, and for good."""
    from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

    _setup_privateuseone_for_python_backend(NAME, backend_module=_Module())
    phantom = Phantom()
    everything, one = torch.library.Library("_", "IMPL"), torch.library.Library("aten", "IMPL")
    everything.fallback(phantom.run, "PrivateUse1")
    everything.fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")
    one.impl("linear", _linear_in_16_bits, "AutocastPrivateUse1")
    _libraries.extend([everything, one])
    return phantom


_libraries: list[Any] = []
"""What is registered with torch lives as long as these."""


def _linear_in_16_bits(inputs: Any, weight: Any, bias: Any = None) -> Any:
    """What autocast does on other devices to the layers that tests and benchmarks have."""
    dtype = torch.get_autocast_dtype(NAME)
    with torch.autocast(NAME, enabled=False):
        lower = [None if value is None else value.to(dtype) for value in (inputs, weight, bias)]
        return torch.nn.functional.linear(*lower)
