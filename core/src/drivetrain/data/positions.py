"""Where a pass over data without indices is: said by what has a state, and found again by it."""

from __future__ import annotations

import copy
import itertools
import logging
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch.utils.data import DataLoader

from drivetrain.checkpoint.random_state import capture_random_state, set_random_state
from drivetrain.data.epochs import EpochLoader, stateful_loader
from drivetrain.data.streams import (
    END,
    EnterableStream,
    can_be_entered,
    has_shuffle_buffer,
    has_state,
    is_followable,
    read_through,
)

logger = logging.getLogger(__name__)

PLAIN = (bool, int, float, str, bytes, type(None), torch.Tensor)
"""What a checkpoint holds, besides containers of it."""


class Pass(NamedTuple):
    """The pass over a loader that is under way.

    Attributes:
        epoch: Its number.
        stream: What the loader reads its data through, if that can be followed.
        generators: The states of the loader's own generators when the pass began.
    """

    epoch: int
    stream: EnterableStream | None
    generators: list[torch.Tensor]


_passes: WeakKeyDictionary[Any, Pass] = WeakKeyDictionary()


def position_of(loader: Any) -> dict[str, Any] | None:
    """Where the pass over a loader is, after the last batch that was taken from it.

    Call it between two batches. The samples that loading processes have read ahead do not count.

    Returns:
        Tensors, numbers, texts and containers, for `begin_pass` with the same data; None where nothing
        has a state: data with indices is entered by the number of the batch.
    """
    running = _running(loader)
    if running is None:
        return None
    parts: dict[str, Any] = {}
    if keeps_position(loader):
        parts["loader"] = loader.state_dict()
    elif running.stream is not None and _is_entered_here(loader):
        parts["stream"] = running.stream.state_dict()
    if running.generators:
        now = [generator.get_state() for generator in _generators_of(loader)]
        parts["generators"] = {"begin": running.generators, "now": now}
    if not parts:
        return None
    facts = {"epoch": running.epoch, "num_workers": getattr(loader, "num_workers", 0)}
    return _plain({**facts, **parts}, loader)


def begin_pass(
    loader: Any, epoch: int, start: int = 0, position: dict[str, Any] | None = None
) -> tuple[Iterator[Any], bool]:
    """Begin a pass, or enter one where `position_of` said it was.

    Args:
        loader: The loader, which has been told the epoch.
        epoch: The number of the pass.
        start: The batch to enter it at. If 0, a position at the end of an earlier pass is taken up: the
            states of generators, and what else goes on from one pass to the next.
        position: Where the pass was.

    Returns:
        The batches, and whether they begin at ``start`` (or else at the first batch of the pass).
    """
    position = position if _fits(position, loader, epoch, start) else None
    stream = _stream_of(loader)
    if position is not None:
        # A loader that goes to the end of its pass draws the order of that pass again.
        _set_generators(loader, position, "begin" if start > 0 or "loader" in position else "now")
    _note(loader, Pass(epoch, stream, [one.get_state() for one in _generators_of(loader)]))
    own = None if isinstance(loader, EpochLoader) else stream
    with read_through(loader, own):
        if position is not None and "loader" in position:
            return (_enter if start > 0 else _pass_by)(loader, position), True
        if position is None or stream is None or "stream" not in position:
            return iter(loader), start == 0
        if start > 0:
            stream.load_state_dict(position["stream"])
        else:
            stream.go_to_end(position["stream"])
        return iter(loader), True


def why_read_again(loader: Any) -> str:
    """Why a pass over a loader can only be entered by reading what comes before."""
    dataset = getattr(loader, "dataset", loader)
    name = type(dataset).__name__
    if has_shuffle_buffer(dataset):
        return f"the state of a {name} leaves out the samples in its shuffle buffer"
    if keeps_position(loader) or _is_entered_here(loader):
        return (
            "the checkpoint has no position of it that fits (`dataloader_num_workers` and whether torchdata "
            "is installed have to be the same as then)"
        )
    if not has_state(dataset):
        return f"a {name} has no indices and no `state_dict` and `load_state_dict`; add them"
    if isinstance(loader, EpochLoader) and stateful_loader() is None:
        return "torchdata, which keeps the states of processes, is missing. Type: pip install torchdata"
    return (
        f"a {type(loader).__name__} keeps no state of its data; a StatefulDataLoader of torchdata does"
    )


def _running(loader: Any) -> Pass | None:
    try:
        return _passes.get(loader)
    except TypeError:  # a list of batches, say
        return None


def _note(loader: Any, running: Pass) -> None:
    try:
        _passes[loader] = running
    except TypeError:
        return


def keeps_position(loader: Any) -> bool:
    """Whether a loader itself says where it is; one that wraps another (Accelerate's) can if that can."""
    wrapped = getattr(loader, "base_dataloader", loader)
    return has_state(wrapped) and not has_shuffle_buffer(getattr(loader, "dataset", None))


def _is_entered_here(loader: Any) -> bool:
    """Whether this process reads a stream that can be entered, and never reads ahead."""
    return (
        (type(loader) is DataLoader or isinstance(loader, EpochLoader))
        and loader.num_workers == 0
        and is_followable(loader.dataset)
        and can_be_entered(loader.dataset)
    )


def _stream_of(loader: Any) -> EnterableStream | None:
    """What a loader's data is read through, in its first pass and all others."""
    running = _running(loader)
    if running is not None:
        return running.stream
    if isinstance(loader, EpochLoader):
        return loader.stream
    is_known = type(loader) is DataLoader or _is_of_torchdata(loader)
    is_entered = is_known and (loader.num_workers == 0 or has_state(loader))
    if is_entered and is_followable(loader.dataset) and can_be_entered(loader.dataset):
        return EnterableStream(loader.dataset, loader.batch_size)
    return None


def _is_of_torchdata(loader: Any) -> bool:
    return isinstance(loader, DataLoader) and type(loader).__module__.startswith("torchdata.")


def _generators_of(loader: Any) -> list[torch.Generator]:
    """The generators that go on from pass to pass of a loader of the user's own."""
    if not isinstance(loader, DataLoader) or isinstance(loader, EpochLoader):
        return []
    holders = (
        loader,
        loader.sampler,
        loader.batch_sampler,
        getattr(loader.batch_sampler, "sampler", None),
    )
    found = [getattr(holder, "generator", None) for holder in (*holders, loader.dataset)]
    return list({id(one): one for one in found if isinstance(one, torch.Generator)}.values())


def _set_generators(loader: Any, position: dict[str, Any], when: str) -> None:
    states = position["generators"][when] if "generators" in position else []
    for generator, state in zip(_generators_of(loader), states, strict=True):
        generator.set_state(state)


def _fits(position: dict[str, Any] | None, loader: Any, epoch: int, start: int) -> bool:
    """Whether a position is one in this pass, or at the end of the last, and of a loader like this one."""
    if position is None:
        return False
    if start == 0 and isinstance(loader, EpochLoader) and loader.num_workers > 0:
        return False  # its processes begin each pass anew
    kinds = {"loader": keeps_position(loader), "stream": _is_entered_here(loader)}
    generators = position["generators"]["now"] if "generators" in position else []
    return (
        position["epoch"] == (epoch if start > 0 else epoch - 1)
        and position["num_workers"] == getattr(loader, "num_workers", 0)
        and len(generators) == len(_generators_of(loader))
        and all(is_kept == (kind in position) for kind, is_kept in kinds.items())
    )


def _enter(loader: Any, position: dict[str, Any]) -> Iterator[Any]:
    """The batches of a loader that keeps its state, from where it was.

    The order in which torchdata reads indices is drawn at once, as in any loader that reads them again:
    the random numbers of the rest of the pass are others.
    """
    loader.load_state_dict(position["loader"])
    batches: Iterator[Any] = iter(loader)
    indices = getattr(batches, "_sampler_iter", None)
    if isinstance(indices, itertools.islice):
        first = next(indices, END)
        vars(batches)["_sampler_iter"] = iter(()) if first is END else itertools.chain([first], indices)
    _set_generators(loader, position, "now")
    return batches


def _pass_by(loader: Any, position: dict[str, Any]) -> Iterator[Any]:
    """The pass after one that a loader which keeps its state was at the end of.

    Most have nothing more to give then, and begin the next pass when they are asked again; others are at
    its beginning already.
    """
    state, random_states = position["loader"], capture_random_state()
    if "_iterator_finished" in state:  # of torchdata, which would begin the next pass at once
        state = {**state, "_iterator_finished": False}
    loader.load_state_dict(state)
    batches = iter(loader)
    first = next(batches, END)
    if first is not END:
        return itertools.chain([first], batches)
    set_random_state(random_states)
    _set_generators(loader, position, "now")
    return iter(loader)


def _plain(position: dict[str, Any], loader: Any) -> dict[str, Any] | None:
    """A copy of a position; None, and said, if a checkpoint cannot hold it."""
    foreign = _find_foreign(position)
    if foreign is None:
        return copy.deepcopy(position)
    logger.warning(
        "The checkpoint is without the position in the data, and to resume from it reads again what comes "
        "before: the `state_dict` of a %s holds a %s. It has to be made of tensors, numbers, texts, lists, "
        "tuples and dicts.",
        type(getattr(loader, "dataset", loader)).__name__,
        foreign.__name__,
    )
    return None


def _find_foreign(value: Any) -> type | None:
    """The type of something within a value that is not read from a checkpoint; None if there is no such."""
    if type(value) in PLAIN or isinstance(value, np.generic):
        return None
    if type(value) is dict:
        members: Iterable[Any] = itertools.chain(value, value.values())
    elif type(value) in (list, tuple):
        members = value
    else:
        return type(value)
    return next((found for found in map(_find_foreign, members) if found is not None), None)
