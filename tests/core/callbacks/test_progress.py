"""What is seen of a run on a terminal, and in a file that its output goes to."""

from __future__ import annotations

import re
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from screens import Terminal, screen_of
from small import Net, are_equal, make_samples, make_trainer, weights_of
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from drivetrain import ProgressCallback, Trainer, TrainerCallback


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Runs write to the folder "out" of an own folder, whose name is short enough for a line."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def make_shown(cls: type[Trainer] = Trainer, **options: Any) -> Trainer:
    """A trainer whose progress is shown: 6 updates, a log after every other, evaluations of 2 batches."""
    shown = {"disable_tqdm": False, "logging_steps": 2, "eval_strategy": "steps", "eval_steps": 3}
    return make_trainer(cls, **{**shown, **options})


class FailAt(TrainerCallback):
    """Raises an error after an update."""

    def __init__(self, step: int, error: BaseException) -> None:
        self.step = step
        self.error = error

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == self.step:
            raise self.error


class Slow(Net):
    """Takes its time, so that something can be said about speed."""

    def forward(self, x: torch.Tensor, labels: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        time.sleep(0.2)
        outputs: dict[str, torch.Tensor] = super().forward(x, labels)
        return outputs


def train_on_terminal(
    monkeypatch: pytest.MonkeyPatch, trainer: Trainer, num_columns: int = 120
) -> tuple[str, list[str]]:
    """Train; return what was written to the terminal, and what is on its screen in the end."""
    terminal = Terminal(monkeypatch, num_columns)
    try:
        trainer.train()
    except RuntimeError:
        pass
    finally:
        written = terminal.close()
    return written, screen_of(written)


# -- on a terminal ------------------------------------------------------------------------------------


def test_a_terminal_keeps_the_logs_one_bar_and_how_the_run_began_and_ended(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer = make_shown(eval_strategy="steps")
    written, screen = train_on_terminal(monkeypatch, trainer)
    logs = [entry for entry in trainer.state.log_history if "loss" in entry]
    first, last = [entry["eval_loss"] for entry in trainer.state.log_history if "eval_loss" in entry]
    assert screen[:2] == [
        "Training Net (195 parameters): 1 epoch of 24 samples, 6 updates of 4 samples.",
        "On cpu, float32; reporting to nothing; output in out.",
    ]
    assert screen[2].startswith(f"step 2/6, epoch 0.33: loss {logs[0]['loss']:.4g}, grad_norm ")
    assert screen[3].startswith(f"step 3/6, epoch 0.50, evaluation: loss {first:.4g} (")
    assert [line[:9] for line in screen[4:7]] == ["step 4/6,", "step 6/6,", "step 6/6,"]
    rate = f"lr {logs[-1]['learning_rate']:.3g}"
    bar = f"train: 100%|████████████████| 6/6, epoch 1.00, loss {logs[-1]['loss']:.3g}, {rate}"
    assert screen[7] == bar
    assert screen[8].startswith("Finished: 6 updates in ")
    assert f", last eval_loss {last:.4g}. Output in out." in screen[8]
    assert screen[9:] == [""]
    assert re.search(r"train:[^\r]*\r\n\revaluate:", written)  # nested: in the line below
    assert capsys.readouterr().out == ""  # which is the script's


def test_a_bar_says_how_fast_it_goes_and_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    written, screen = train_on_terminal(monkeypatch, make_shown(model=Slow(), eval_strategy="no"))
    bars = [line for line in re.split(r"[\r\n]+", written) if line.startswith("train:")]
    middle = next(line for line in bars if " 5/6" in line)
    assert re.search(
        r"\| 5/6, epoch 0.83, loss [\d.]+, lr [\d.]+, [\d.]+ samples/s, 0:\d\d left", middle
    )
    final = next(line for line in screen if line.startswith("train:"))
    assert final.endswith("samples/s")


def test_a_bar_is_drawn_a_few_times_a_second_however_fast_the_updates_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    began = time.monotonic()
    trainer = make_shown(max_steps=150, logging_strategy="no", eval_strategy="no")
    written, _ = train_on_terminal(monkeypatch, trainer)
    drawn = written.count("train:")
    assert 2 <= drawn <= 4 + 10 * (time.monotonic() - began)


def test_a_narrow_terminal_shows_what_matters_most_on_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    written, _ = train_on_terminal(monkeypatch, make_shown(eval_strategy="no"), num_columns=60)
    bars = [line for line in re.split(r"[\r\n]+", written) if line.startswith("train:")]
    assert max(map(len, bars)) < 60
    assert "loss" in bars[-1]
    assert "lr" not in bars[-1]


def test_a_run_that_fails_leaves_its_bar_where_it_was_and_says_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    callbacks = [FailAt(5, RuntimeError("no\nmore"))]
    trainer = make_shown(model=Slow(), callbacks=callbacks, save_strategy="steps", save_steps=2)
    _, screen = train_on_terminal(monkeypatch, trainer)
    bar = next(line for line in screen if line.startswith("train:"))
    assert bar.startswith("train:  83%|█████████████▎  | 5/6, epoch 0.83, loss ")
    assert "left" not in bar
    assert screen[-2].startswith("Failed by RuntimeError (no more): 5 of 6 updates in ")
    assert screen[-2].endswith("Last checkpoint: out/checkpoint-4.")
    assert trainer.callback_handler.callbacks[-1].training_bar is None  # type: ignore[attr-defined]


def test_an_evaluation_that_fails_closes_its_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    class Fails(Trainer):
        num_batches = 0

        def prediction_step(self, *args: Any, **kwargs: Any) -> Any:
            self.num_batches += 1
            if self.num_batches == 2:
                raise RuntimeError("no more")
            return super().prediction_step(*args, **kwargs)

    terminal = Terminal(monkeypatch)
    trainer = make_shown(Fails)
    with pytest.raises(RuntimeError, match="no more"):
        trainer.evaluate()
    written = terminal.close()
    assert "evaluate:" in written
    assert not any(screen_of(written))
    assert trainer.callback_handler.callbacks[-1].prediction_bar is None  # type: ignore[attr-defined]


def test_a_subclass_may_write_above_the_bar_and_add_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    class Own(ProgressCallback):
        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
            if "loss" in logs:
                self.training_bar.set_postfix(mine=state.global_step)
                self.training_bar.write(f"own line {state.global_step}", file=sys.stderr)

    trainer = make_shown(callbacks=[Own], eval_strategy="no")
    trainer.callback_handler.remove_callback(trainer.callback_handler.callbacks[-1])
    _, screen = train_on_terminal(monkeypatch, trainer)
    assert screen[2:5] == ["own line 2", "own line 4", "own line 6"]
    assert screen[5] == "train: 100%|████████████████| 6/6, epoch 1.00, mine=6"


def test_a_subclass_may_have_a_bar_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    from tqdm import tqdm

    class Own(ProgressCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.training_bar = tqdm(total=state.max_steps, desc="mine")

    trainer = make_shown(callbacks=[Own], eval_strategy="no")
    trainer.callback_handler.remove_callback(trainer.callback_handler.callbacks[-1])
    _, screen = train_on_terminal(monkeypatch, trainer)
    assert any(re.match(r"mine: 100%.* 6/6 \[", line) for line in screen)
    assert not any("Finished" in line for line in screen)


# -- elsewhere ----------------------------------------------------------------------------------------


def lines_of(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The lines that were written to standard error, where there is no sign of a bar."""
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "\r" not in shown.err
    assert "\x1b" not in shown.err
    assert "%|" not in shown.err
    return shown.err.splitlines()


def test_a_file_gets_a_line_for_each_log_and_evaluation_and_no_bar(
    capsys: pytest.CaptureFixture[str],
) -> None:
    trainer = make_shown(model=Slow(), compute_metrics=lambda prediction: {"accuracy": 0.25})
    trainer.train()
    lines = lines_of(capsys)
    loss, _, rate = (trainer.state.log_history[0][n] for n in ("loss", "grad_norm", "learning_rate"))
    assert len(lines) == 8
    assert re.fullmatch(
        rf"step 2/6, epoch 0.33: loss {loss:.4g}, grad_norm [\d.]+, learning_rate {rate:.4g}(, .* left)?",
        lines[2],
    )
    assert re.fullmatch(
        r"step 3/6, epoch 0.50, evaluation: accuracy 0.25, loss [\d.]+ \([\d.]+ s, [\d.]+ samples/s\)",
        lines[3],
    )
    assert re.search(r", learning_rate [\d.]+, [\d.]+ samples/s, 0:\d\d left$", lines[4])
    assert re.match(
        r"Finished: 6 updates in \d:\d\d \([\d.]+ samples/s\), mean loss [\d.]+, last eval_loss",
        lines[7],
    )


def test_the_opening_says_what_an_update_consists_of_who_is_told_and_where_it_goes_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    options: dict[str, Any] = {
        "model": Net(),
        "report_to": ["jsonl"],
        "gradient_accumulation_steps": 2,
        "save_strategy": "steps",
        "save_steps": 2,
        "eval_strategy": "no",
    }
    options["model"].inner.requires_grad_(False)
    make_shown(max_steps=2, **options).train()
    lines_of(capsys)
    make_shown(max_steps=6, **options).train(resume_from_checkpoint=True)
    lines = lines_of(capsys)
    length = "2 epochs of 24 samples, 6 updates of 8 samples (4 a device x 2 accumulated)"
    assert lines[:2] == [
        f"Training Net (195 parameters, 83 of them trained): {length}.",
        "On cpu, float32; reporting to jsonl; output in out; resuming at step 2.",
    ]
    assert lines[2].startswith("step 4/6, epoch 1.33: ")


def test_the_end_says_what_was_best(capsys: pytest.CaptureFixture[str]) -> None:
    values = iter([0.5, 0.75, 0.25])
    trainer = make_shown(
        eval_steps=2,
        metric_for_best_model="accuracy",
        compute_metrics=lambda prediction: {"accuracy": next(values)},
    )
    trainer.train()
    assert ", last eval_accuracy 0.25, best 0.75 at step 4. Output in out." in lines_of(capsys)[-1]


def test_an_interruption_is_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyboardInterrupt):
        make_shown(callbacks=[FailAt(2, KeyboardInterrupt())]).train()
    closing = r"Interrupted by KeyboardInterrupt: 2 of 6 updates in \d:\d\d. No checkpoint in out\."
    assert re.fullmatch(closing, lines_of(capsys)[-1])


def test_what_cannot_begin_is_not_said_to_have_ended(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="`train_dataset`"):
        make_shown(train_dataset=[]).train()
    assert lines_of(capsys) == []


def test_evaluations_and_predictions_by_themselves_are_a_line_each(
    capsys: pytest.CaptureFixture[str],
) -> None:
    samples = make_samples()
    trainer = make_shown(eval_dataset={"news": samples[:4], "tales": samples[4:8]})
    metrics = trainer.evaluate()
    trainer.predict(samples[:4])
    lines = lines_of(capsys)
    assert [line.partition(" (")[0] for line in lines[:2]] == [
        f"evaluation {name}: loss {metrics[f'eval_{name}_loss']:.4g}" for name in ("news", "tales")
    ]
    assert lines[2].startswith("prediction: loss ")
    assert len(lines) == 3


def test_values_of_the_users_own_are_shown_and_long_texts_cut_off(
    capsys: pytest.CaptureFixture[str],
) -> None:
    trainer = make_shown()
    trainer.log({"temperature": 0.123456, "tokens": 1234567, "text": "a\nb" * 100})
    (line,) = lines_of(capsys)
    assert line.startswith("temperature 0.1235, tokens 1,234,567, text a ba b")
    assert line.endswith("... (300 characters)")


def test_what_the_end_does_not_say_of_the_whole_training_is_a_line_of_its_own(
    capsys: pytest.CaptureFixture[str],
) -> None:
    make_shown(eval_strategy="no", skip_memory_metrics=False).train()
    lines = lines_of(capsys)
    assert re.match(r"step 6/6, epoch 1.00: .*train_mem_cpu_peaked_delta ", lines[-2])
    assert "runtime" not in lines[-2]


class Reader(nn.Module):
    """forward: ``input_ids`` (batch, length), ``labels`` (batch,)."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(10, 3)

    def forward(self, input_ids: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        logits = self.embedding(input_ids).mean(1)
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


def test_where_there_are_tokens_they_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    samples = [{"input_ids": torch.arange(8), "labels": 1} for _ in range(24)]
    trainer = make_shown(model=Reader(), train_dataset=samples, eval_strategy="no")
    trainer.train()
    measured = trainer.measurements
    assert measured is not None
    assert measured.tokens_per_second is not None
    assert measured.tokens_per_second > 0
    logs = [line for line in lines_of(capsys) if line.startswith("step")]
    assert len(logs) == 3
    assert all(re.search(r", [\d.]+[kM]? tokens/s", line) for line in logs)


def test_other_processes_than_the_first_show_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    class Second(Trainer):
        def is_world_process_zero(self) -> bool:
            return False

    trainer = make_shown(Second)
    trainer.train()
    trainer.evaluate()
    trainer.predict(make_samples()[:4])
    assert lines_of(capsys) == []


def test_a_reader_that_is_gone_ends_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = make_trainer(max_steps=3)
    plain.train()

    class Gone:
        def write(self, text: str) -> int:
            raise BrokenPipeError

        def flush(self) -> None:
            raise BrokenPipeError

        def isatty(self) -> bool:
            return False

    for stream in (Gone(), None):
        monkeypatch.setattr(sys, "stderr", stream)
        trainer = make_shown(max_steps=3)
        trainer.train()
        assert are_equal(weights_of(trainer), weights_of(plain))
        monkeypatch.undo()


class Reads(TorchDispatchMode):
    """Counts what is called; a tensor's number is read by ``_local_scalar_dense``."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.counts[func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("is_terminal", [True, False])
def test_showing_progress_reads_nothing_from_the_device(
    is_terminal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = []
    for is_hidden in (True, False):
        terminal = Terminal(monkeypatch) if is_terminal else None
        trainer = make_shown(disable_tqdm=is_hidden, logging_steps=3, eval_strategy="no")
        with Reads() as reads:
            trainer.train()
        if terminal is not None:
            terminal.close()
            monkeypatch.undo()
        counts.append(reads.counts["_local_scalar_dense"])
    assert counts[0] == counts[1] > 0
