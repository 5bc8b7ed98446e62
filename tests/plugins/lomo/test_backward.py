"""What holds because the update is inside backward."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from drivetrain import ArgumentsError, TrainingArguments
from drivetrain.parts import load_optimizer
from drivetrain_lomo.fused import AdaLomo, Lomo

pytestmark = pytest.mark.slow

README = Path(__file__).resolve().parents[3] / "plugins" / "lomo" / "README.md"


@pytest.mark.parametrize("cls", [Lomo, AdaLomo])
def test_at_most_one_gradient_is_there_at_a_time(cls: Any, make_model: Any, make_tokens: Any) -> None:
    model, most = make_model(), 0

    def count(_: torch.Tensor) -> None:
        nonlocal most
        most = max(most, sum(parameter.grad is not None for parameter in model.parameters()))

    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in trained:
        parameter.register_post_accumulate_grad_hook(count)
    optimizer = cls(trained, lr=0.1)
    before = {name: value.clone() for name, value in model.named_parameters()}
    model(make_tokens(0), make_tokens(1))["loss"].backward()
    assert most == 1
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not torch.equal(model.hidden[0].weight, before["hidden.0.weight"])
    after = {name: value.clone() for name, value in model.named_parameters()}
    optimizer.step()
    assert all(torch.equal(after[name], value) for name, value in model.named_parameters())


def test_lomo_has_no_state(make_model: Any, make_tokens: Any) -> None:
    model = make_model()
    optimizer = Lomo(list(model.parameters()), lr=0.1)
    model(make_tokens(0), make_tokens(1))["loss"].backward()
    optimizer.step()
    assert optimizer.state_dict()["state"] == {}


def test_adalomo_counts_updates_not_those_of_one_parameter(make_model: Any, make_tokens: Any) -> None:
    model = make_model()
    optimizer = AdaLomo([p for p in model.parameters() if p.requires_grad], lr=0.1)
    for number in range(3):
        tokens = make_tokens(number)
        model(tokens, tokens, is_whole=number == 2)["loss"].backward()
        optimizer.step()
    assert [group["step"] for group in optimizer.param_groups] == [3]
    assert len(optimizer.state) == len([p for p in model.parameters() if p.requires_grad])


@pytest.mark.parametrize("optim", ["lomo", "adalomo"])
def test_clipping_by_norm_is_refused_and_clipping_by_value_named(optim: str) -> None:
    asked = re.escape(f"`max_grad_norm`: 0.5 cannot be combined with `optim`={optim!r}")
    with pytest.raises(ArgumentsError, match=asked + ".*optim_args='clip_grad_value=1.0' limits"):
        TrainingArguments("out", use_cpu=True, report_to="none", optim=optim, max_grad_norm=0.5)


def test_clipping_that_is_left_out_by_default_is_said() -> None:
    args = TrainingArguments("out", use_cpu=True, report_to="none", optim="lomo")
    (warning,) = load_optimizer(args).warnings()
    assert warning.startswith("`max_grad_norm`: gradients are not clipped to the default of 1.0")


def test_the_snippet_of_the_readme_runs(tmp_path: Path) -> None:
    (snippet,) = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", snippet], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr
