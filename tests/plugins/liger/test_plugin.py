"""The plugin `liger`: what stands against it, what it passes on, and its kernels where they are installed."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from small import Net, make_args, make_trainer

from drivetrain import ArgumentsError
from drivetrain.plugin import UsageError

README = Path(__file__).resolve().parents[3] / "plugins" / "liger" / "README.md"
HAS_LIBRARY = importlib.util.find_spec("liger_kernel") is not None
needs_library = pytest.mark.skipif(
    not HAS_LIBRARY, reason="liger-kernel (with Triton, a gigabyte) is absent"
)

STAND_IN = """
def apply_to_llama(rope=True, cross_entropy=False, fused_linear_cross_entropy=True, model=None):
    assert not (cross_entropy and fused_linear_cross_entropy), "cannot both be True"
    model.patched = {"rope": rope, "cross_entropy": cross_entropy}

MODEL_TYPE_TO_APPLY_LIGER_FN = {"llama": apply_to_llama, "gemma": apply_to_llama}
"""


def forget_library() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "liger_kernel"]:
        del sys.modules[name]


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package in place of liger-kernel, whose function notes what it is called with."""
    folder = tmp_path / "liger_kernel" / "transformers"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").touch()
    (folder / "__init__.py").touch()
    (folder / "monkey_patch.py").write_text(STAND_IN, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    forget_library()
    yield
    forget_library()


class Llama(Net):
    """A model that says that it is a Llama."""

    config = SimpleNamespace(model_type="llama")


class Wrapper(Net):
    """A model around another, as PEFT wraps one."""

    def __init__(self) -> None:
        super().__init__()
        self.wrapped = Llama()

    def get_base_model(self) -> Net:
        return self.wrapped


def train(model: Net, **options: Any) -> Net:
    make_trainer(model=model, use_liger_kernel=True, max_steps=1, **options).train()
    return model


def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "liger_kernel", None)  # as if it were not installed
    with pytest.raises(ArgumentsError, match=r"^`use_liger_kernel`: .* Type: pip install liger-kernel$"):
        make_args(use_liger_kernel=True)


def test_without_a_gpu_it_is_refused(stand_in: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET")
    with pytest.raises(ArgumentsError, match=r"^`use_liger_kernel`: .* needs a GPU, .* computes on cpu"):
        make_args(use_liger_kernel=True)


def test_named_among_the_plugins_it_is_the_same(stand_in: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET")
    with pytest.raises(ArgumentsError, match=r"^`plugins`: .* needs a GPU"):
        make_args(plugins=["liger"])


def test_the_configuration_is_passed_on(stand_in: None) -> None:
    model = train(Llama(), liger_kernel_config={"rope": False})
    assert model.patched == {"rope": False, "cross_entropy": False}


def test_by_default_the_library_decides(stand_in: None) -> None:
    assert train(Llama()).patched == {"rope": True, "cross_entropy": False}


def test_a_model_that_is_evaluated_only_is_patched_too(stand_in: None) -> None:
    model = Llama()
    make_trainer(model=model, use_liger_kernel=True).evaluate()
    assert model.patched["rope"]


def test_without_the_argument_nothing_is_patched(stand_in: None) -> None:
    model = Llama()
    make_trainer(model=model, max_steps=1).train()
    assert not hasattr(model, "patched")


def test_the_model_inside_of_a_wrapper_is_patched(stand_in: None) -> None:
    model = Wrapper()
    train(model)
    assert model.wrapped.patched["rope"]
    assert not hasattr(model, "patched")


def test_a_kernel_that_there_is_not_is_refused(stand_in: None) -> None:
    with pytest.raises(
        UsageError,
        match=r"^`liger_kernel_config`: 'swoglu': .* Kernels: rope, cross_entropy, fused_linear_",
    ):
        train(Llama(), liger_kernel_config={"swoglu": True})


def test_the_model_is_no_option(stand_in: None) -> None:
    with pytest.raises(UsageError, match=r"^`liger_kernel_config`: 'model': no kernel"):
        train(Llama(), liger_kernel_config={"model": None})


def test_what_the_library_refuses_is_told_with_the_option(stand_in: None) -> None:
    with pytest.raises(UsageError, match=r"^`liger_kernel_config`: .* for Llama: cannot both be True$"):
        train(Llama(), liger_kernel_config={"cross_entropy": True})


def test_a_model_that_is_none_of_transformers_is_refused(stand_in: None) -> None:
    with pytest.raises(
        UsageError, match=r"^`use_liger_kernel`: .* models of transformers, .* Net does not"
    ):
        train(Net())


def test_a_type_without_kernels_is_refused_with_those_that_have_some(stand_in: None) -> None:
    class Other(Net):
        config = SimpleNamespace(model_type="t5")

    with pytest.raises(UsageError, match=r"^`use_liger_kernel`: .* type 't5', only for: gemma, llama\."):
        train(Other())


INTERPRETED = """
import importlib
import numpy as np
import torch, transformers
import triton.language as tl
import triton.runtime.interpreter as interpreter

# What Triton's interpreter lacks: numbers of Python as arguments, and functions of CUDA's library.
convert = interpreter._implicit_cvt
interpreter._implicit_cvt = lambda value: (
    tl.tensor(interpreter.TensorHandle(np.array([value], dtype=np.float32), tl.float32), tl.float32)
    if isinstance(value, float) else convert(value)
)
rms_norm = importlib.import_module("liger_kernel.ops.rms_norm")
rms_norm.rsqrt = lambda value: 1.0 / tl.sqrt(value)

from drivetrain import Trainer, TrainingArguments

size = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
data = [{"input_ids": ids, "labels": ids} for ids in torch.randint(0, 50, (8, 16))]
losses, weights = [], []
for use in (False, True):
    torch.manual_seed(7)
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(vocab_size=50, use_cache=False, **size))
    args = TrainingArguments(
        "out", use_liger_kernel=use, report_to="none", use_cpu=True, logging_steps=1, max_steps=3,
        per_device_train_batch_size=4, save_strategy="no", disable_tqdm=True, learning_rate=1e-2,
    )
    trainer = Trainer(model=model, args=args, train_dataset=data, eval_dataset=data[:4])
    trainer.train()
    losses.append([entry["loss"] for entry in trainer.state.log_history if "loss" in entry])
    losses[-1].append(trainer.evaluate()["eval_loss"])
    weights.append(torch.cat([value.flatten() for value in model.state_dict().values()]))
    kernels = [getattr(module.forward, "__qualname__", "") for module in model.modules()]
    assert any("Liger" in name for name in kernels) == use, kernels
assert np.allclose(*losses, atol=1e-5), losses
assert (weights[0] - weights[1]).abs().max() < 1e-3
print("same losses", losses)
"""


@needs_library
@pytest.mark.slow
def test_its_kernels_train_as_the_plain_model_does() -> None:
    import os

    done = subprocess.run(
        [sys.executable, "-c", INTERPRETED],
        capture_output=True,
        text=True,
        env={**os.environ, "TRITON_INTERPRET": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert "same losses" in done.stdout


@needs_library
@pytest.mark.gpu
def test_the_snippet_of_the_readme_runs() -> None:
    (snippet,) = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    done = subprocess.run([sys.executable, "-c", snippet], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_importing_the_part_imports_no_library() -> None:
    code = (
        "import sys, drivetrain_liger.plugin; assert not {'liger_kernel', 'triton'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
