"""What is imported, and when."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest


def modules_after(code: str) -> set[str]:
    """The modules that a fresh interpreter has after running some code."""
    program = f"{code}\nimport sys\nprint(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


def test_import_drivetrain_imports_neither_torch_nor_a_plugin() -> None:
    modules = modules_after("import drivetrain")
    assert "torch" not in modules
    assert not {name for name in modules if name.startswith("drivetrain_") and "registry" not in name}


def test_the_arguments_class_can_be_had_without_torch() -> None:
    assert "torch" not in modules_after("from drivetrain import TrainingArguments")


def test_what_scripts_import_at_their_top_besides_the_trainer_needs_no_torch() -> None:
    names = (
        "HfArgumentParser, TrainingArguments, Seq2SeqTrainingArguments, EvalPrediction, TrainerCallback, "
        "EarlyStoppingCallback, IntervalStrategy, TrainerState, TrainerControl, get_last_checkpoint"
    )
    assert "torch" not in modules_after(f"from drivetrain import {names}")


def test_the_trainer_imports_torch_and_no_plugin_and_none_of_the_libraries_that_it_does_without() -> (
    None
):
    modules = modules_after("from drivetrain import Trainer, TrainingArguments")
    assert "torch" in modules
    for name in ("transformers", "accelerate", "datasets", "tensorboard", "drivetrain_torch"):
        assert name not in modules


def test_making_arguments_imports_the_parts_that_they_name_and_no_other() -> None:
    modules = modules_after(
        "from drivetrain import TrainingArguments; TrainingArguments('out', report_to='none', use_cpu=True)"
    )
    assert "drivetrain_torch.optimizers" in modules
    assert "drivetrain_torch.muon" not in modules
    assert "drivetrain_galore" not in modules
    assert "drivetrain_tensorboard" not in modules


def test_a_run_from_the_beginning_without_checkpoints_imports_nothing_of_reading_or_writing_them() -> (
    None
):
    modules = modules_after(
        "import torch; from drivetrain import Trainer, TrainingArguments\n"
        "class Line(torch.nn.Linear):\n"
        "    def forward(self, x): return {'loss': super().forward(x).mean()}\n"
        "args = TrainingArguments(__import__('tempfile').mkdtemp(), max_steps=1, use_cpu=True,\n"
        "    report_to='none', save_strategy='no', disable_tqdm=True)\n"
        "Trainer(Line(2, 1), args, train_dataset=[{'x': torch.ones(2)}]).train()"
    )
    assert "drivetrain.loop.training" in modules
    for name in (
        "contents",
        "resuming",
        "reading",
        "damage",
        "tensors",
        "sharded",
        "changes",
        "manifest",
    ):
        assert f"drivetrain.checkpoint.{name}" not in modules
    assert not {"xxhash", "drivetrain.results", "drivetrain.callbacks.restoring"} & modules


def test_the_trainer_imports_no_arguments_of_sequence_to_sequence_and_no_texts_of_errors() -> None:
    modules = modules_after("from drivetrain import Trainer")
    assert "drivetrain.arguments.composed" in modules
    assert "drivetrain.arguments.seq2seq" not in modules
    assert "drivetrain_registry.explanations" not in modules


def test_the_command_that_lists_plugins_imports_neither_torch_nor_a_plugin() -> None:
    modules = modules_after("from drivetrain.cli import main; main(['plugins'])")
    assert "drivetrain.cli.plugins" in modules
    assert not {"torch", "numpy"} & modules
    assert not {name for name in modules if name.startswith("drivetrain_") and "registry" not in name}


def test_the_help_of_a_script_needs_no_torch() -> None:
    modules = modules_after(
        "from drivetrain import HfArgumentParser, TrainingArguments\n"
        "parser = HfArgumentParser(TrainingArguments)\n"
        "try: parser.parse_args_into_dataclasses(['--help'])\n"
        "except SystemExit: pass"
    )
    assert "drivetrain.arguments.parser.parser" in modules
    assert "torch" not in modules


def test_a_module_that_is_imported_later_is_there_when_something_of_it_is_asked_for() -> None:
    modules = modules_after(
        "import sys; from drivetrain.later import Later\n"
        "colors = Later('colorsys'); repr(colors), hasattr(colors, '__wrapped__')\n"
        "assert 'colorsys' not in sys.modules\n"
        "assert colors.rgb_to_hsv(0, 0, 0) == (0.0, 0.0, 0)"
    )
    assert "colorsys" in modules


def test_every_public_name_can_be_imported_and_a_wrong_one_is_an_attribute_error() -> None:
    import pytest

    import drivetrain

    for name in drivetrain.__all__:
        assert getattr(drivetrain, name) is not None
    assert "Trainer" in dir(drivetrain)
    with pytest.raises(AttributeError, match="no attribute 'Trainor'"):
        _ = drivetrain.Trainor


@pytest.mark.parametrize("name", ["drivetrain.arguments", "drivetrain.callbacks"])
def test_names_that_are_imported_on_first_use_are_there_like_the_others(name: str) -> None:
    module = importlib.import_module(name)
    assert set(module.__all__) <= set(dir(module))
    namespace: dict[str, object] = {}
    exec(f"from {name} import *", namespace)
    assert set(module.__all__) <= set(namespace)
    with pytest.raises(AttributeError, match="NoSuchThing"):
        _ = module.NoSuchThing
