"""What is imported, and when."""

from __future__ import annotations

import subprocess
import sys


def modules_after(code: str) -> set[str]:
    """The modules that a fresh interpreter has after running some code."""
    program = f"{code}\nimport sys\nprint(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


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


def test_every_public_name_can_be_imported_and_a_wrong_one_is_an_attribute_error() -> None:
    import pytest

    import drivetrain

    for name in drivetrain.__all__:
        assert getattr(drivetrain, name) is not None
    assert "Trainer" in dir(drivetrain)
    with pytest.raises(AttributeError, match="no attribute 'Trainor'"):
        _ = drivetrain.Trainor
