"""What `checkpoint.py` measures, each in a process of its own that does one thing whenever it is asked to.

A process answers with what the thing took only when it is ready for the next request, so that nothing of it
runs while another is measured.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import math
import mmap
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import nn
from torch.utils.data import Dataset

Result = dict[str, Any]

SAVE_METHODS = {"drivetrain": "save_checkpoint", "transformers": "_save_checkpoint"}
"""The method that a library's loop is held up by while it saves."""

_LONGEST = 600.0
_VOCABULARY = 50257


# -- talking to the process that asks ---------------------------------------------------------------


class Line:
    """Requests come as lines of JSON on standard input, and results leave on standard output.

    Whatever else a library prints goes to standard error.
    """

    def __init__(self) -> None:
        self.results = os.fdopen(os.dup(sys.stdout.fileno()), "w")
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def exchange(self, result: Result) -> Result:
        """Hand over a result and wait for the next request; end the process if there is none."""
        print(json.dumps(result), file=self.results, flush=True)
        request = sys.stdin.readline()
        if not request:
            raise SystemExit(0)
        asked: Result = json.loads(request)
        return asked


def serve(line: Line, act: Callable[[Result], Result]) -> NoReturn:
    """Do the same thing for each request."""
    result: Result = {}
    while True:
        result = act(line.exchange(result))


# -- models and data --------------------------------------------------------------------------------


class Layers(nn.Module):
    """Square layers one after another. forward: ``x`` (batch, width)."""

    def __init__(self, num_layers: int, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(nn.Linear(width, width, bias=False) for _ in range(num_layers)))
        for (
            weight
        ) in self.parameters():  # so that values neither vanish (denormal ones are slow) nor grow
            nn.init.normal_(weight, std=width**-0.5)

    def forward(self, x: torch.Tensor, labels: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        return {"loss": self.layers(x).square().mean()}


class Rows(Dataset[dict[str, torch.Tensor]]):
    """Samples that are rows of one tensor."""

    def __init__(self, **columns: torch.Tensor) -> None:
        self.columns = columns

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {name: column[index] for name, column in self.columns.items()}


def make_model(kind: str, num_parameters: float) -> nn.Module:
    """A model of about that many parameters: 'layers' (100 tensors), 'gpt2' or 'small' (one layer)."""
    torch.manual_seed(0)
    if kind == "small":
        return Layers(1, 8)
    if kind == "layers":
        return Layers(100, max(1, round(math.sqrt(num_parameters / 100))))
    from transformers import GPT2Config, GPT2LMHeadModel

    width = (math.sqrt(_VOCABULARY**2 + 4 * 144 * num_parameters) - _VOCABULARY) / (2 * 144)
    width = 12 * max(1, round(width / 12))
    gpt2: nn.Module = GPT2LMHeadModel(GPT2Config(n_embd=width, n_layer=12, n_head=12, n_positions=64))
    return gpt2


def make_data(kind: str, num_rows: int, model: nn.Module) -> Rows:
    """Samples for `make_model`'s model."""
    generator = torch.Generator().manual_seed(0)
    if kind == "gpt2":
        tokens = torch.randint(0, _VOCABULARY, (num_rows, 8), generator=generator)
        return Rows(input_ids=tokens, labels=tokens)
    width = next(model.parameters()).shape[1]
    return Rows(x=torch.randn(num_rows, width, generator=generator))


def make_trainer(library: str, task: Result, **options: Any) -> Any:
    """A trainer of drivetrain or of transformers, with AdamW; ``options`` are its parts and arguments."""
    module = importlib.import_module(library)
    cls = options.pop("cls", module.Trainer)
    kind, folder = task["kind"], task["folder"]
    model = options.pop("model", None) or make_model(kind, task["parameters"])
    data = options.pop("data", None) or make_data(kind, task["rows"], model)
    arguments = {
        "optim": "adamw_torch",
        "learning_rate": 1e-5,
        "logging_strategy": "no",
        "report_to": "none",
        "use_cpu": True,
        "disable_tqdm": True,
        "save_strategy": "no",
        "per_device_train_batch_size": task["batch_size"],
        "max_steps": task["max_steps"],
    }
    callbacks = options.pop("callbacks", None)
    args = module.TrainingArguments(str(folder), **{**arguments, **options})
    return cls(model=model, args=args, train_dataset=data, callbacks=callbacks)


# -- saving -----------------------------------------------------------------------------------------


def train_and_save(line: Line, task: Result) -> None:
    """Train with a save after each update; each waits for a request, and so do copies of what it saves."""
    library = importlib.import_module(task["library"])
    method = SAVE_METHODS[task["library"]]
    inherited = getattr(library.Trainer, method)
    request: Result = {}
    last: Result = {}
    targets: list[torch.Tensor] = []

    def on_step_begin(self: Any, args: Any, state: Any, control: Any, **parts: Any) -> None:
        nonlocal request, last
        while (request := line.exchange(last))["do"] != "save":
            last = copy_state(parts["model"], parts["optimizer"], targets, request)

    def save(trainer: Any, *arguments: Any, **keywords: Any) -> None:
        nonlocal last
        last = measure_save(trainer, request, lambda: inherited(trainer, *arguments, **keywords))

    cls = type("MeasuredTrainer", (library.Trainer,), {method: save})
    callback = type("WaitForRequest", (library.TrainerCallback,), {"on_step_begin": on_step_begin})()
    options = {"async_save": True} if task["is_async"] else {}
    trainer = make_trainer(
        task["library"],
        task,
        cls=cls,
        callbacks=[callback],
        save_strategy="steps",
        save_steps=1,
        **options,
    )
    trainer.train()


def measure_save(trainer: Any, request: Result, save: Callable[[], None]) -> Result:
    """Seconds that a save takes: of the loop, until it is whole, and until it is on the disk."""
    folder = Path(trainer.args.output_dir) / f"checkpoint-{trainer.state.global_step}"
    if request.get("is_first"):
        release_free_memory()
    settle(request["num_bytes"])
    before = reset_peak_memory()
    start = time.perf_counter()
    save()
    stall = time.perf_counter() - start
    while not folder.is_dir():
        time.sleep(0.001)
        assert time.perf_counter() - start < _LONGEST, f"{folder} did not come"
    whole = time.perf_counter() - start
    peak = peak_memory(before)
    flush(folder)
    flushed = time.perf_counter() - start
    files = [file for file in folder.rglob("*") if file.is_file()]
    result = {"stall": stall, "whole": whole, "flushed": flushed, "peak": peak}
    result["bytes"] = sum(file.stat().st_size for file in files)
    if not request.get("is_kept"):
        shutil.rmtree(folder)
    return result


def copy_state(model: nn.Module, optimizer: Any, targets: list[torch.Tensor], request: Result) -> Result:
    """Seconds to copy what a checkpoint holds to tensors that were there before, or to new ones."""
    sources = list(state_tensors(model, optimizer))
    if not targets:
        targets.extend(torch.clone(source).detach() for source in sources)
    settle(request["num_bytes"])
    for source in sources:
        source.sum()  # as the step before a save has used them just now
    start = time.perf_counter()
    with torch.no_grad():
        if request["do"] == "copy":
            for target, source in zip(targets, sources, strict=True):
                target.copy_(source)
        else:
            _copies = [source.clone() for source in sources]
    return {"stall": time.perf_counter() - start}


def state_tensors(model: nn.Module, optimizer: Any) -> Iterator[torch.Tensor]:
    """The tensors of model and optimizer, each once."""
    yield from model.parameters()
    yield from model.buffers()
    for state in optimizer.state.values():
        yield from (value for value in state.values() if isinstance(value, torch.Tensor))


def write_bytes(line: Line, task: Result) -> None:
    """Write as many bytes as a checkpoint has from one buffer to one file, and flush it."""
    file = Path(task["folder"]) / "bytes"
    file.parent.mkdir(parents=True)
    buffer = memoryview(b"")

    def write(request: Result) -> Result:
        nonlocal buffer
        if len(buffer) != request["bytes"]:
            block = os.urandom(1 << 20)
            buffer = memoryview((block * (request["bytes"] // len(block) + 1))[: request["bytes"]])
        settle(request["num_bytes"])
        bytes(buffer[::1024])  # as the step before a save has used what is saved just now
        before = reset_peak_memory()
        start = time.perf_counter()
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0))
        written = 0
        while written < len(buffer):
            written += os.write(descriptor, buffer[written:])
        os.fsync(descriptor)
        os.close(descriptor)
        seconds = time.perf_counter() - start
        file.unlink()
        return {"stall": seconds, "peak": peak_memory(before)}

    serve(line, write)


def flush(folder: Path) -> None:
    """Force a folder's files to the disk; of those that are there already this takes nothing."""
    for file in folder.rglob("*"):
        if file.is_file():
            with file.open("rb+") as stream:
                os.fsync(stream.fileno())


# -- resuming ---------------------------------------------------------------------------------------


def train_long(line: Line, task: Result) -> None:
    """Train, and save after the updates that the task names."""
    callback_class = importlib.import_module(task["library"]).TrainerCallback

    def on_step_end(self: Any, args: Any, state: Any, control: Any, **keywords: Any) -> Any:
        control.should_save = state.global_step in task["save_at"]
        control.should_training_stop = state.global_step == max(task["save_at"])
        return control

    callback = type("SaveAtSteps", (callback_class,), {"on_step_end": on_step_end})()
    make_trainer(task["library"], task, callbacks=[callback]).train()
    line.exchange({})


class Begun(Exception):
    """The first update begins."""


def resume(line: Line, task: Result) -> None:
    """Resume from a checkpoint until the first update begins."""
    library = task["library"]
    model = make_model(task["kind"], task["parameters"])
    data = make_data(task["kind"], task["rows"], model)

    def on_step_begin(self: Any, args: Any, state: Any, control: Any, **keywords: Any) -> None:
        raise Begun

    callback_class = importlib.import_module(library).TrainerCallback
    callback = type("StopAtOnce", (callback_class,), {"on_step_begin": on_step_begin})

    def act(request: Result) -> Result:
        trainer = make_trainer(library, task, model=model, data=data, callbacks=[callback()])
        settle(request["num_bytes"])
        start = time.perf_counter()
        try:
            trainer.train(resume_from_checkpoint=request["checkpoint"])
        except Begun:
            return {"stall": time.perf_counter() - start, "step": trainer.state.global_step}
        raise AssertionError(f"no update came after resuming from {request['checkpoint']}")

    serve(line, act)


def load(line: Line, task: Result) -> None:
    """Load a checkpoint's files with torch and safetensors, into a model and an optimizer."""
    from safetensors.torch import load_file

    model = make_model(task["kind"], task["parameters"])

    def act(request: Result) -> Result:
        folder = Path(request["checkpoint"])
        optimizer = torch.optim.AdamW(parameter_groups(model))
        settle(request["num_bytes"])
        start = time.perf_counter()
        state = json.loads((folder / "trainer_state.json").read_text(encoding="utf-8"))
        model.load_state_dict(
            load_file(folder / "model.safetensors"), strict=False
        )  # tied weights: once
        optimizer.load_state_dict(torch.load(folder / "optimizer.pt", weights_only=True))
        for name in ("scheduler.pt", "rng_state.pth"):
            torch.load(folder / name, weights_only=False)
        return {"stall": time.perf_counter() - start, "step": state["global_step"]}

    serve(line, act)


def parameter_groups(model: nn.Module) -> list[dict[str, Any]]:
    """Two groups, as trainers make them: with weight decay and without."""
    parameters = list(model.parameters())
    groups = [[p for p in parameters if p.ndim > 1], [p for p in parameters if p.ndim <= 1]]
    return [{"params": group} for group in groups]


# -- disk and memory --------------------------------------------------------------------------------


def settle(num_bytes: int) -> None:
    """Flush what is left to write, and have the machine hold that much free memory.

    A virtual machine may have given free memory back to its host, and fetches it again when it is touched.
    """
    if hasattr(os, "sync"):
        os.sync()
    if hasattr(mmap, "MAP_POPULATE"):
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE
        mmap.mmap(-1, max(num_bytes, mmap.PAGESIZE), flags=flags).close()


def reset_peak_memory() -> int | None:
    """Set the process's peak of resident memory back to what it has now, which is returned, in KiB.

    Linux alone can do that; elsewhere it is None.
    """
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return None
    return _status("VmRSS")


def peak_memory(before: int | None) -> float | None:
    """MiB of resident memory that there were at most since `reset_peak_memory`, above what it returned."""
    return None if before is None else (_status("VmHWM") - before) / 1024


def release_free_memory() -> None:
    """Give back what the allocator keeps of freed memory, or a save that used it would seem to need none."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    if trim is not None:
        trim(0)


def _status(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


ACTIONS = {
    "save": train_and_save,
    "write": write_bytes,
    "train": train_long,
    "resume": resume,
    "load": load,
}


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    ACTIONS[given["action"]](Line(), given)
