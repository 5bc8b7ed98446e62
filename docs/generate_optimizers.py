"""Writes `docs/optimizers.md` from the plugins' own metadata. Type: python docs/generate_optimizers.py"""

from __future__ import annotations

import itertools
import logging
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drivetrain import TrainingArguments, UsageError
from drivetrain.cli.inspection import first_paragraph, read_option_fields
from drivetrain.plugin import OptimizerPlugin
from drivetrain_registry import default_registry
from drivetrain_registry.catalogue import CATALOGUE

DOCS = Path(__file__).resolve().parent
PAGE = DOCS / "optimizers.md"
MEASURED = DOCS.parent / "benchmarks" / "results" / "optimizers.md"
INTRODUCTION = """\
# Optimizers

An optimizer turns gradients into new weights. It is chosen with one word, `optim`, and the rest of the
training stays as it is. The default is `adamw_torch`, which is right for most. Other words are worth
typing for one of the reasons [below](#which-one): memory that is short, a schedule or a rate that
nobody wants to look for, or fewer updates.

```python
import torch
from torch import nn
from drivetrain import Trainer, TrainingArguments


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Sequential(nn.Linear(8, 32), nn.GELU(), nn.Linear(32, 32), nn.GELU())
        self.head = nn.Linear(32, 2)

    def forward(self, x, labels):
        return {"loss": nn.functional.cross_entropy(self.head(self.hidden(x)), labels)}


data = [{"x": x, "labels": int(x.sum() > 0)} for x in torch.randn(800, 8)]


def train(**arguments):
    args = TrainingArguments("out", report_to="none", save_strategy="no", use_cpu=True, **arguments)
    trainer = Trainer(Net(), args, train_dataset=data)
    trainer.train()
    return trainer


train(optim="muon", learning_rate=1e-2)
```

Options of its own go into `optim_args`, as text or as a dict. One that it does not have is refused,
with those that it has; `drivetrain plugins show muon` lists them, with types and defaults.

```python
train(optim="muon", learning_rate=1e-2, optim_args="momentum=0.9, adamw_lr=3e-3")
train(optim="muon", learning_rate=1e-2, optim_args={"momentum": 0.9, "adamw_lr": 3e-3})
```

Low-rank optimizers (GaLore, APOLLO) work on weight matrices that `optim_target_modules` names: parts of
the names of `nn.Linear` modules, regular expressions, full names, or `"all-linear"`. All other weights
get AdamW's steps. A name that matches nothing is an error that lists what would match.

```python
train(optim="galore_adamw", learning_rate=1e-2, optim_target_modules=["hidden"], optim_args="rank=8")
```

Schedule-free optimizers keep two sets of weights. The trainer has the ones to use in place whenever it
evaluates, predicts or saves, and at the end; the schedule is to be constant.

```python
train(optim="schedule_free_adamw", learning_rate=1e-2, lr_scheduler_type="constant")
```

What is not packaged is named by where it is: any optimizer class by its dotted path, in a library or in
a file of yours. Its options are checked against its signature.

```python
train(optim="torch.optim.NAdam", learning_rate=1e-2, optim_args="momentum_decay=0.01")
```

Arguments that an optimizer has no use for (`adam_beta2` with `sgd`) are said once when they are set;
what it cannot be combined with is an error when the arguments are made. `drivetrain plugins` lists what
is installed. How to publish an optimizer: [writing plugins](writing-plugins.md).
"""
QUESTIONS = {
    "first choice": "I want something that works",
    "little memory": "I have little memory",
    "no schedule": "I want no schedule",
    "no rate to find": "I do not want to look for a rate",
    "fewer steps": "I want to be there in fewer steps",
    "faster steps": "I want each step to be faster",
    "16-bit weights": "My weights are in 16 bits",
    "other devices": "My device is neither a CPU nor an NVIDIA GPU",
    "earlier results": "I want to repeat what was done before",
}
"""What people look for, by the word for it in `OptimizerPlugin.suits`."""
FEATURES = {
    "gradient_accumulation": "gradient accumulation",
    "gradient_clipping": "clipping of gradients",
    "fp16": "fp16",
    "several_processes": "several processes",
}


@dataclass(frozen=True)
class Optimizer:
    """A name, and what its plugin says of itself."""

    name: str
    distribution: str
    plugin: type[OptimizerPlugin]
    runs_on_cpu: bool

    @property
    def size(self) -> float:
        """Bytes of state for each parameter; those that are not known come last."""
        known = self.plugin.state_bytes
        return float("inf") if known is None else known

    @property
    def shown_size(self) -> str:
        """The same to read."""
        return "?" if self.plugin.state_bytes is None else f"{self.size:.2f}".rstrip("0").rstrip(".")


def render() -> str:
    """The page."""
    optimizers = sorted(read_optimizers(), key=lambda one: (round(one.size, 2), one.name))
    parts = [_questions(optimizers), _sizes(optimizers), _measured(), _distributions(optimizers)]
    return "\n".join([INTRODUCTION, *itertools.chain(*parts)])


def read_optimizers() -> Iterator[Optimizer]:
    """Every optimizer of a distribution of ours; of families, those that say what they suit."""
    for (kind, listed), distribution in CATALOGUE.items():
        if kind.name == "optimizer":
            for name in _members_of(listed) if listed.endswith("*") else [listed]:
                plugin: Any = default_registry().load("optimizer", f"{distribution}:{name}").part
                yield Optimizer(name, distribution, plugin, runs_on_cpu(name, plugin))


def _members_of(family: str) -> list[str]:
    """The members whose plugins say what they are good for."""
    registry = default_registry()
    (entry,) = (entry for entry in registry.entries("optimizer") if entry.name == family)
    names: list[str] = entry.load().names()  # type: ignore[attr-defined]
    parts: dict[str, Any] = {name: registry.load("optimizer", name).part for name in names}
    return [name for name, part in parts.items() if part.suits]


def runs_on_cpu(name: str, plugin: type[OptimizerPlugin]) -> bool:
    """Whether the plugin lets arguments for a CPU pass."""
    targets = "all-linear" if plugin.targets_modules else None
    with tempfile.TemporaryDirectory() as folder:
        try:
            TrainingArguments(
                folder, optim=name, optim_target_modules=targets, use_cpu=True, report_to="none"
            )
        except UsageError:
            return False
    return True


# -- the parts of the page --------------------------------------------------------------------------


def _questions(optimizers: list[Optimizer]) -> Iterator[str]:
    yield "## Which one?\n"
    for purpose, question in QUESTIONS.items():
        suited = [_row_of(one) for one in optimizers if purpose in one.plugin.suits]
        if suited:
            yield f"### {question}\n"
            yield "| optimizer | bytes of state | install | on a CPU | cannot be combined with |"
            yield "\n".join(["|---|---|---|---|---|", *suited, ""])


def _row_of(one: Optimizer) -> str:
    cells = (
        f"[`{one.name}`](#{one.name})",
        one.shown_size,
        f"`{_install(one.distribution)}`",
        "yes" if one.runs_on_cpu else "no",
        _features_of(one.plugin),
    )
    return f"| {' | '.join(cells)} |"


def _features_of(plugin: type[OptimizerPlugin]) -> str:
    return ", ".join(FEATURES[feature] for feature in plugin.cannot)


def _sizes(optimizers: list[Optimizer]) -> Iterator[str]:
    yield "## Bytes of state for each parameter\n"
    yield (
        "Beside 4 for the weight and 4 for its gradient in float32. Of a large weight matrix, with the "
        "default options.\n"
    )
    yield "| bytes | | optimizers |\n|---|---|---|"
    for _, group in itertools.groupby(optimizers, key=lambda one: one.shown_size):
        same = list(group)
        names = ", ".join(f"`{one.name}`" for one in same)
        bar = "█" * round(same[0].size * 2) if same[0].size < float("inf") else ""
        yield f"| {same[0].shown_size} | {bar} | {names} |"
    yield ""


def _measured() -> Iterator[str]:
    """What `benchmarks/optimizers.py` wrote when it was last run on a machine that was quiet."""
    if MEASURED.is_file():
        yield "## Measured\n"
        yield f"![Loss, time and state of each](../{MEASURED.relative_to(DOCS.parent).with_suffix('.png')})\n"
        yield MEASURED.read_text(encoding="utf-8")


def _distributions(optimizers: list[Optimizer]) -> Iterator[str]:
    yield "## All of them\n"
    yield "`drivetrain plugins show NAME` says the same, and why something cannot be combined.\n"
    for distribution in dict.fromkeys(CATALOGUE[key] for key in CATALOGUE if key[0].name == "optimizer"):
        yield f"### {distribution}\n"
        folder = next(DOCS.parent.glob(f"*/{distribution.removeprefix('drivetrain-')}"))
        yield f"`{_install(distribution)}` ([what it is](../{folder.relative_to(DOCS.parent).as_posix()}))\n"
        if any(key[1].endswith("*") and where == distribution for key, where in CATALOGUE.items()):
            yield "Some of a family: `drivetrain plugins show 'po_*'` lists all of its names.\n"
        for one in sorted(optimizers, key=lambda one: one.name):
            if one.distribution == distribution:
                yield from _describe(one)


def _describe(one: Optimizer) -> Iterator[str]:
    plugin = one.plugin
    yield f"#### {one.name}\n"
    yield f"{first_paragraph(plugin)}\n"
    if plugin.paper:
        yield f"- Paper: {_link(plugin.paper)}"
    yield f"- Bytes of state for each parameter: {one.shown_size}"
    if not one.runs_on_cpu:
        yield "- Does not run on a CPU, or not without the library of its device."
    if plugin.targets_modules:
        yield "- Works on the modules that `optim_target_modules` names."
    if plugin.cannot:
        yield f"- Cannot be combined with {_features_of(plugin)}."
    if plugin.unused_arguments:
        yield f"- Does not use {', '.join(f'`{name}`' for name in plugin.unused_arguments)}."
    options = read_option_fields(plugin)
    shown = (f"`{o.name}: {o.type}" + (f" = {o.default}`" if o.default else "`") for o in options)
    yield f"- Options: {', '.join(shown) if options else 'none'}.\n"


def _install(distribution: str) -> str:
    extra = distribution.removeprefix("drivetrain-")
    return "pip install drivetrain" if extra == "torch" else f"pip install {distribution}"


def _link(paper: str) -> str:
    return re.sub(r"arXiv:(\d{4}\.\d{4,5})", r"[arXiv:\1](https://arxiv.org/abs/\1)", paper)


if __name__ == "__main__":
    logging.disable(logging.WARNING)  # what is said about a run on a CPU
    PAGE.write_text(render(), encoding="utf-8")
