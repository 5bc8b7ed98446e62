"""Reading what `torch.distributed.checkpoint` wrote, without its unpickling anything but tensors and numbers.

It keeps the list of parts, and what is no tensor, as pickles, and reads them with no questions asked.
"""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner
from torch.distributed.checkpoint.metadata import Metadata
from torch.distributed.checkpoint.planner import ReadItem
from torch.distributed.checkpoint.state_dict_loader import load

from drivetrain.checkpoint.sharded import causes
from drivetrain.checkpoint.tensors import UnsafeCheckpointError

_DESCRIPTIONS = {
    "torch.distributed.checkpoint.metadata": {
        "BytesStorageMetadata",
        "ChunkStorageMetadata",
        "Metadata",
        "MetadataIndex",
        "StorageMeta",
        "TensorProperties",
        "TensorStorageMetadata",
        "_MEM_FORMAT_ENCODING",
    },
    "torch.distributed.checkpoint.filesystem": {"_StorageInfo"},
    "torch.serialization": {"_get_layout"},
    "torch": {"Size"},
    "pathlib": {"PosixPath", "PurePosixPath", "PureWindowsPath", "WindowsPath"},
    "collections": {"OrderedDict"},
}
"""Classes by module that a list of parts is made of; besides them, torch's types of numbers."""


def load_parts(state: dict[str, Any], folder: Path) -> None:
    """Read into the tensors and containers of a state what several processes wrote of it.

    All processes call it; each reads what it needs.

    Args:
        state: As for ``torch.distributed.checkpoint.load``.
        folder: Where it was written.

    Raises:
        UnsafeCheckpointError: Something in it would have to be unpickled that is no tensor or number.
    """
    for file in sorted(folder.glob("*.metadata")):
        _check_list_of_parts(file)
    with causes():
        load(state, checkpoint_id=folder, planner=_CheckingPlanner(folder))


class _CheckingPlanner(DefaultLoadPlanner):
    """Refuses what is no tensor and no number, before it is unpickled."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def load_bytes(self, read_item: ReadItem, value: io.BytesIO) -> None:
        try:
            torch.load(value, weights_only=True)
        except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, ValueError) as error:
            raise _refusal(self.folder, read_item.dest_index.fqn) from error
        value.seek(0)
        super().load_bytes(read_item, value)


class _ListOfParts(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        is_number_type = module == "torch" and isinstance(getattr(torch, name, None), torch.dtype)
        if name in _DESCRIPTIONS.get(module, ()) or is_number_type:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name}")


def _check_list_of_parts(file: Path) -> None:
    with file.open("rb") as stream:
        try:
            if not isinstance(_ListOfParts(stream).load(), Metadata):
                raise pickle.UnpicklingError("it is no list of parts")
        except OSError:
            raise
        except Exception as error:  # whatever a damaged pickle ends in
            raise _refusal(file, str(error) or type(error).__name__) from error


def _refusal(place: Path, what: str) -> UnsafeCheckpointError:
    return UnsafeCheckpointError(
        f"`resume_from_checkpoint`: {place} is not read: it is damaged, or holds objects that would run "
        f"code when they are read ({what}). Take an earlier checkpoint."
    )
