"""What arrives at the hub when, what does not end a run, and what a run goes on from."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_hub import TOKEN, FakeHub
from huggingface_hub import snapshot_download
from safetensors.torch import load
from small import are_equal, make_trainer, weights_of

from drivetrain import Trainer, TrainerCallback

# huggingface_hub uploads large files in a way of which the library beneath it warns.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

MODEL = {"README.md", "model.safetensors", "training_args.json"}
CHECKPOINT = {
    "manifest.json",
    "model.safetensors",
    "optimizer.pt",
    "progress.json",
    "rng_state.pth",
    "scheduler.pt",
    "trainer_state.json",
    "training_args.json",
}
SAVES = ["Training in progress, step 2", "Training in progress, step 4", "Training in progress, step 6"]
REPOSITORY = Path(__file__).resolve().parents[3]


class At(TrainerCallback):
    """Does something when a save of an update was handled."""

    def __init__(self, step: int, action: Callable[[], None]) -> None:
        self.step, self.action = step, action

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == self.step:
            self.action()


def interrupt() -> None:
    raise KeyboardInterrupt


def wait_for(hub: FakeHub, message: str) -> threading.Event:
    """Set when a commit of that message was made."""
    arrived = threading.Event()
    hub.on_commit = lambda commit, files: arrived.set() if commit.message == message else None
    return arrived


def within(folder: str, names: set[str]) -> set[str]:
    return {f"{folder}/{name}" for name in names}


def is_model_of(trainer: Trainer, data: bytes) -> bool:
    return are_equal(load(data), weights_of(trainer))


# -- by strategy -------------------------------------------------------------------------------------


def test_every_save_pushes_the_model_and_nothing_of_the_optimizer(pushing: Any, hub: FakeHub) -> None:
    trainer = pushing(hub_always_push=True)
    trainer.train()
    assert hub.messages("me/net") == SAVES  # at the end there is nothing that is not there already
    assert all(set(commit.put) <= MODEL for commit in hub.repos["me/net"].commits)
    assert set(hub.files("me/net")) == MODEL
    assert is_model_of(trainer, hub.files("me/net")["model.safetensors"])


def test_each_save_pushes_the_model_of_that_update(pushing: Any, hub: FakeHub) -> None:
    seen: dict[str, bytes] = {}
    hub.on_commit = lambda commit, files: seen.update({commit.message: files["model.safetensors"]})
    trainer = pushing(hub_always_push=True)
    trainer.train()
    for step in (2, 4, 6):
        saved = Path(trainer.args.output_dir, f"checkpoint-{step}", "model.safetensors").read_bytes()
        assert seen[f"Training in progress, step {step}"] == saved


def test_the_last_push_is_of_the_best_model_if_that_is_loaded(pushing: Any, hub: FakeHub) -> None:
    values = iter([0.9, 0.5, 0.1])
    trainer = pushing(
        eval_strategy="steps",
        eval_steps=2,
        load_best_model_at_end=True,
        metric_for_best_model="score",
        greater_is_better=True,
        compute_metrics=lambda prediction: {"score": next(values)},
    )
    trainer.train()
    best = Path(trainer.args.output_dir, "checkpoint-2", "model.safetensors").read_bytes()
    assert hub.files("me/net")["model.safetensors"] == best
    assert b"- Score: 0.9000" in hub.files("me/net")["README.md"]


def test_end_pushes_when_the_model_is_saved_and_not_before(pushing: Any, hub: FakeHub) -> None:
    trainer = pushing(hub_strategy="end")
    trainer.train()
    assert hub.messages("me/net") == []
    trainer.save_model()
    assert hub.messages("me/net") == ["Model save"]
    assert set(hub.files("me/net")) == MODEL


def test_checkpoint_pushes_the_newest_as_well(pushing: Any, hub: FakeHub) -> None:
    pushing(hub_strategy="checkpoint").train()
    assert set(hub.files("me/net")) == MODEL | within("last-checkpoint", CHECKPOINT)


def test_all_checkpoints_pushes_each_under_its_name(pushing: Any, hub: FakeHub) -> None:
    pushing(hub_strategy="all_checkpoints").train()
    checkpoints = [within(f"checkpoint-{step}", CHECKPOINT) for step in (2, 4, 6)]
    assert set(hub.files("me/net")) == MODEL.union(*checkpoints)


@pytest.mark.parametrize("strategy", ["every_save", "checkpoint", "all_checkpoints"])
def test_a_run_that_saves_no_checkpoint_pushes_its_model_at_the_end(
    pushing: Any, hub: FakeHub, strategy: str
) -> None:
    pushing(hub_strategy=strategy, save_strategy="no").train()
    assert hub.messages("me/net") == ["End of training"]
    assert set(hub.files("me/net")) == MODEL


def test_a_run_goes_on_from_the_last_checkpoint_that_was_downloaded(
    pushing: Any, hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = pushing(hub_strategy="checkpoint", hub_model_id="whole")
    whole.train()
    broken = pushing(
        output_dir=tmp_path / "broken",
        hub_strategy="checkpoint",
        hub_always_push=True,
        callbacks=[At(4, interrupt)],
    )
    arrived = wait_for(hub, SAVES[1])
    with pytest.raises(KeyboardInterrupt):
        broken.train()
    assert arrived.wait(60)
    elsewhere = tmp_path / "elsewhere"
    snapshot_download("me/broken", local_dir=elsewhere, cache_dir=tmp_path / "cache")
    monkeypatch.chdir(elsewhere)
    resumed = make_trainer(output_dir=elsewhere, save_strategy="no")
    output = resumed.train(resume_from_checkpoint="last-checkpoint")
    assert output.global_step == 6
    assert are_equal(weights_of(resumed), weights_of(whole))


def test_files_of_an_older_last_checkpoint_are_deleted(pushing: Any, hub: FakeHub) -> None:
    trainer = pushing(hub_strategy="checkpoint")
    files = hub.files("me/net")
    files["last-checkpoint/model.safetensors.index.json"] = files["last-checkpoint/old/shard"] = b"{}"
    files["last-checkpoint-notes.txt"] = files["kept.txt"] = b"mine"
    trainer.train()
    expected = MODEL | within("last-checkpoint", CHECKPOINT) | {"last-checkpoint-notes.txt", "kept.txt"}
    assert set(hub.files("me/net")) == expected


# -- in the background -------------------------------------------------------------------------------


def test_training_goes_on_and_a_save_is_passed_over_while_a_push_is_under_way(
    pushing: Any, hub: FakeHub, caplog: pytest.LogCaptureFixture
) -> None:
    hub.gate.clear()
    trainer = pushing(hub_strategy="checkpoint", callbacks=[At(6, hub.gate.set)])
    with caplog.at_level(logging.INFO, "drivetrain_hub"):
        trainer.train()
    assert hub.messages("me/net") == [SAVES[0], "End of training"]
    assert re.findall(r"Update (\d+) is not pushed", caplog.text) == ["4", "6"]
    state = hub.files("me/net")["last-checkpoint/trainer_state.json"]
    assert b'"global_step": 6' in state


def test_pushes_queue_if_all_are_to_be_made(pushing: Any, hub: FakeHub) -> None:
    hub.gate.clear()
    trainer = pushing(hub_always_push=True, callbacks=[At(6, hub.gate.set)])
    trainer.train()
    assert hub.messages("me/net") == SAVES


def test_a_checkpoint_that_is_deleted_before_its_turn_is_pushed_all_the_same(
    pushing: Any, hub: FakeHub
) -> None:
    hub.gate.clear()
    trainer = pushing(
        hub_strategy="all_checkpoints",
        hub_always_push=True,
        save_total_limit=1,
        callbacks=[At(6, hub.gate.set)],
    )
    trainer.train()
    assert [path.name for path in Path(trainer.args.output_dir).glob("checkpoint-*")] == ["checkpoint-6"]
    assert within("checkpoint-2", CHECKPOINT) | within("checkpoint-4", CHECKPOINT) <= set(
        hub.files("me/net")
    )


def test_what_was_passed_over_and_deleted_is_named(
    pushing: Any, hub: FakeHub, caplog: pytest.LogCaptureFixture
) -> None:
    hub.gate.clear()
    pushing(hub_strategy="all_checkpoints", save_total_limit=1, callbacks=[At(6, hub.gate.set)]).train()
    assert "Not pushed, and deleted since by `save_total_limit`: checkpoint-4." in caplog.text


def test_nothing_of_the_pushes_is_left_on_disk(pushing: Any, tmp_path: Path) -> None:
    left = tmp_path / "net" / ".pushing-1-of-a-process-that-is-gone"
    left.mkdir(parents=True)
    pushing(hub_strategy="checkpoint", hub_always_push=True).train()
    assert [path.name for path in (tmp_path / "net").iterdir() if path.name.startswith(".")] == []


def test_a_push_of_the_users_that_does_not_block_sends_what_was_there_then(
    pushing: Any, hub: FakeHub
) -> None:
    trainer = pushing()
    before = weights_of(trainer)
    hub.gate.clear()
    future = trainer.push_to_hub("Early", blocking=False)
    assert hub.commit_begun.wait(60)
    Path(trainer.args.output_dir, "model.safetensors").write_bytes(b"changed since")
    hub.gate.set()
    assert future.result(60).commit_url.startswith(hub.endpoint)
    assert hub.messages("me/net") == ["Early"]
    assert are_equal(load(hub.files("me/net")["model.safetensors"]), before)


def test_a_run_that_is_interrupted_says_that_a_push_is_under_way(
    pushing: Any, hub: FakeHub, caplog: pytest.LogCaptureFixture
) -> None:
    hub.gate.clear()
    arrived = wait_for(hub, SAVES[0])
    trainer = pushing(callbacks=[At(4, interrupt)])
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    assert "A push is still under way" in caplog.text
    hub.gate.set()
    assert arrived.wait(60)


# -- failures ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["checkpoint", "all_checkpoints"])
def test_pushes_that_fail_end_nothing_and_the_last_makes_up_for_them(
    pushing: Any, hub: FakeHub, caplog: pytest.LogCaptureFixture, strategy: str
) -> None:
    hub.num_refused = 3
    trainer = pushing(hub_strategy=strategy, hub_always_push=True)
    assert trainer.train().global_step == 6
    assert hub.messages("me/net") == ["End of training"]
    if strategy == "checkpoint":
        assert within("last-checkpoint", CHECKPOINT) <= set(hub.files("me/net"))
    else:
        assert within("checkpoint-2", CHECKPOINT) | within("checkpoint-6", CHECKPOINT) <= set(
            hub.files("me/net")
        )
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 1
    assert "storage quota exceeded" in errors[0].getMessage()
    assert "3 pushes had failed; the last one made up for them." in caplog.text


def test_a_last_push_that_fails_is_said_and_can_be_made_again(
    pushing: Any, hub: FakeHub, caplog: pytest.LogCaptureFixture
) -> None:
    hub.num_refused = 100
    trainer = pushing()
    assert trainer.train().global_step == 6
    assert "The last push to me/net failed." in caplog.text
    assert "call trainer.push_to_hub() to try again" in caplog.text
    assert hub.messages("me/net") == []
    hub.num_refused = 0
    trainer.push_to_hub()
    assert is_model_of(trainer, hub.files("me/net")["model.safetensors"])


def test_a_card_that_cannot_be_made_does_not_end_the_run(
    pushing: Any, hub: FakeHub, caplog: pytest.LogCaptureFixture
) -> None:
    class Careless(Trainer):
        def create_model_card(self, **about: Any) -> None:
            raise RuntimeError("no card")

    assert pushing(cls=Careless).train().global_step == 6
    assert "no card" in caplog.text


def test_a_push_of_the_users_that_fails_raises(pushing: Any, hub: FakeHub) -> None:
    hub.num_refused = 1
    with pytest.raises(OSError, match="storage quota exceeded"):
        pushing().push_to_hub()


# -- pushes of the user's ----------------------------------------------------------------------------


def test_push_to_hub_works_without_the_argument(hub: FakeHub, tmp_path: Path) -> None:
    trainer = make_trainer(output_dir=tmp_path / "net")
    assert hub.repos == {}
    info = trainer.push_to_hub("By hand", tags="mine", license="mit", token="hf_given")
    assert info.commit_url.startswith(f"{hub.endpoint}/me/net/commit/")
    assert hub.messages("me/net") == ["By hand"]
    assert hub.tokens == {"hf_given"}
    card = hub.files("me/net")["README.md"]
    assert b"  - mine\n" in card
    assert b"license: mit\n" in card


def test_the_content_of_the_folder_is_pushed_but_for_checkpoints_and_what_is_hidden(
    pushing: Any, hub: FakeHub, tmp_path: Path
) -> None:
    trainer = pushing(hub_strategy="end")
    trainer.train()
    for name in (
        "eval_results.json",
        "labels/en.txt",
        ".env",
        ".git/config",
        "labels/.cache/x",
        "_tmp/x",
    ):
        file = tmp_path / "net" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("content", encoding="utf-8")
    (tmp_path / "net" / "last-checkpoint").mkdir()
    (tmp_path / "net" / "last-checkpoint" / "optimizer.pt").write_bytes(b"")
    trainer.push_to_hub()
    assert set(hub.files("me/net")) == MODEL | {"eval_results.json", "labels/en.txt"}


def test_a_readme_of_ones_own_is_pushed_as_it_is(pushing: Any, hub: FakeHub, tmp_path: Path) -> None:
    trainer = pushing()
    (tmp_path / "net" / "README.md").write_text("---\nlicense: mit\n---\n# Mine\n", encoding="utf-8")
    trainer.train()
    assert hub.files("me/net")["README.md"] == b"---\nlicense: mit\n---\n# Mine\n"
    assert b"## Versions" in hub.files("me/net")["README.drivetrain.md"]


def test_the_card_is_called_like_the_repository(pushing: Any, hub: FakeHub) -> None:
    pushing(hub_model_id="team/fine-net").push_to_hub()
    assert b"# fine-net\n" in hub.files("team/fine-net")["README.md"]


def test_each_push_is_an_event(pushing: Any, hub: FakeHub) -> None:
    class Count(TrainerCallback):
        steps: list[int] = []

        def on_push_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.steps.append(state.global_step)

    counting = Count()
    trainer = pushing(hub_always_push=True, callbacks=[counting])
    trainer.train()
    trainer.push_to_hub()
    assert counting.steps == [2, 4, 6, 6, 6]


def test_a_save_model_that_takes_no_word_of_who_calls_pushes_once(pushing: Any, hub: FakeHub) -> None:
    class Plain(Trainer):
        def save_model(self, output_dir: str | None = None) -> None:  # type: ignore[override]
            super().save_model(output_dir)

    pushing(cls=Plain, hub_strategy="end").push_to_hub()
    assert hub.messages("me/net") == ["End of training"]


# -- tokens, and other processes ---------------------------------------------------------------------


def test_the_token_is_sent_and_written_nowhere(
    pushing: Any, hub: FakeHub, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hub.num_refused = 1
    with caplog.at_level(logging.DEBUG):
        pushing(hub_token="hf_mine", hub_strategy="checkpoint").train()
    assert hub.tokens == {"hf_mine"}
    assert "hf_mine" not in caplog.text
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.name == "training_args.json" for path in written)
    assert not [path for path in written if b"hf_mine" in path.read_bytes()]
    assert not [name for name, data in hub.files("me/net").items() if b"hf_mine" in data]


@pytest.mark.slow
def test_the_snippet_of_the_readme_pushes(hub: FakeHub, tmp_path: Path) -> None:
    text = (REPOSITORY / "plugins" / "hub" / "README.md").read_text(encoding="utf-8")
    code = text.split("```python\n")[1].split("```")[0]
    environment = {**os.environ, **hub.environment, "HF_HOME": str(tmp_path / "home")}
    subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True, capture_output=True
    )
    assert hub.messages("me/line")[-2:] == ["End of training", "A line"]
    assert within("last-checkpoint", CHECKPOINT) <= set(hub.files("me/line"))
    assert b"  - regression\n" in hub.files("me/line")["README.md"]
    assert hub.tokens == {TOKEN}
