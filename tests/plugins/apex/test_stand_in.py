"""That Apex is called with the right things at the right time, by a package that stands in for it.

See `conftest.py`. The device is the CPU, which the plugin would refuse: that check is taken out.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow


def test_what_the_fused_optimizer_is_made_with(run: Any, stand_in: Path) -> None:
    printed = run(
        "import torch\n"
        "from drivetrain import TrainingArguments\n"
        "from drivetrain.parts import load_optimizer\n"
        "args = TrainingArguments('out', strategy='gpu.OnGPU', report_to='none', optim='adamw_apex_fused',\n"
        "    learning_rate=0.25, adam_beta1=0.5, optim_args='eps=1e-6', adam_bias_correction=False)\n"
        "model = torch.nn.Linear(2, 2)\n"
        "groups = [{'params': [model.weight], 'weight_decay': 0.1},\n"
        "          {'params': [model.bias], 'weight_decay': 0.0}]\n"
        "optimizer = load_optimizer(args).create(model, groups)\n"
        "print(type(optimizer).__module__, optimizer.made_with)\n"
        "for group in optimizer.param_groups:\n"
        "    print(*(group[name] for name in ('lr', 'betas', 'eps', 'weight_decay')))"
    )
    assert printed.splitlines() == [
        "apex.optimizers {'bias_correction': False, 'adam_w_mode': True}",
        "0.25 (0.5, 0.999) 1e-06 0.1",
        "0.25 (0.5, 0.999) 1e-06 0.0",
    ]


TRAIN = """
import apex.amp as amp
import torch
from torch import nn
from drivetrain import Trainer, TrainingArguments
from drivetrain_apex.precision import Apex

Apex.problems = lambda self: ()

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))

    def forward(self, x, labels):
        logits = self.layers(x)
        return {"loss": nn.functional.cross_entropy(logits.float(), labels), "logits": logits}

generator = torch.Generator().manual_seed(0)
data = [{"x": x, "labels": int(x.argmax() % 3)} for x in torch.randn(64, 4, generator=generator)]

def make(seed=0, folder="out", **values):
    torch.manual_seed(seed)
    args = TrainingArguments(folder, use_cpu=True, report_to="none", disable_tqdm=True, logging_steps=1,
        per_device_train_batch_size=4, gradient_accumulation_steps=2, learning_rate=1e-2, max_steps=8,
        max_grad_norm=0.1, **{"precision": "apex", "save_strategy": "no", **values})
    return Trainer(Net(), args, train_dataset=data)

def train(trainer, **values):
    trainer.train(**values)
    return [p.detach().clone() for p in trainer.model.parameters()]

def logged(trainer, name):
    return [logs[name] for logs in trainer.state.log_history if name in logs]

def are_equal(one, other):
    return all(map(torch.equal, one, other))
"""


def test_each_backward_pass_is_scaled_and_the_gradients_are_as_without(run: Any, stand_in: Path) -> None:
    """The scale is a power of 2: with 'O1' the stand-in changes nothing to the last bit."""
    printed = run(
        TRAIN
        + """
trainer, plain = make(fp16_opt_level="O1"), make(precision="no")
print(are_equal(train(trainer), train(plain)))
print(logged(trainer, "grad_norm") == logged(plain, "grad_norm"), len(logged(plain, "grad_norm")))
print(amp.calls[0], amp.calls[1:] == ["scale_loss", "unscaled"] * 16)
trainer.train()
print(sum(call[0] == "initialize" for call in amp.calls), len(amp.calls) - 1)
"""
    )
    wanted = ["True", "True 8", "('initialize', 'O1') True", "1 64"]
    assert [line for line in printed.splitlines() if not line.startswith("{")] == wanted


def test_an_update_that_overflows_is_left_out_and_the_schedule_waits(run: Any, stand_in: Path) -> None:
    printed = run(
        TRAIN
        + """
amp.overflow_at = (3,)  # in the second update
trainer = make(fp16_opt_level="O1")
train(trainer)
rates = logged(trainer, "learning_rate")
print(rates[0], rates[1] == rates[2], rates[3] < rates[2], amp.scaler)
print(trainer.optimizer.state_dict()["state"][0]["step"].item())
"""
    )
    assert printed.splitlines()[-2:] == ["0.01 True True {'loss_scale': 512.0}", "7.0"]


def test_copies_in_float32_are_clipped_saved_and_resumed_with(run: Any, stand_in: Path) -> None:
    printed = run(
        TRAIN
        + """
saving = {"fp16_opt_level": "O2", "save_strategy": "steps", "save_steps": 4}
trainer = make(folder="whole", **saving)
weights = train(trainer)
print({p.dtype for p in weights}, {p.dtype for p in amp.master_params(trainer.optimizer)})
plain = make(precision="no")
train(plain)
print(max(abs(a - b) / b for a, b in zip(logged(trainer, "grad_norm"), logged(plain, "grad_norm"))) < 0.05)
amp.scaler["loss_scale"] = 1.0
resumed = make(seed=1, folder="resumed", **saving)
print(are_equal(weights, train(resumed, resume_from_checkpoint="whole/checkpoint-4")), amp.scaler)
print(are_equal(amp.master_params(trainer.optimizer), amp.master_params(resumed.optimizer)))
"""
    )
    wanted = ["{torch.float16} {torch.float32}", "True", "True {'loss_scale': 1024.0}", "True"]
    assert [line for line in printed.splitlines() if not line.startswith("{'")] == wanted
