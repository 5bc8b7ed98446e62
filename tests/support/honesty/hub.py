"""Rows of the arguments of the model hub: trainers push to one on this machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fake_hub import TOKEN, FakeHub

from drivetrain import TrainerCallback
from honesty.table import Case, Row
from honesty.table import row as plain_row

# huggingface_hub uploads large files in a way of which the library beneath it warns.
QUIET = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
SAVING: dict[str, Any] = {"save_strategy": "steps", "save_steps": 3}
FIRST, LAST = "Training in progress, step 3", "Training in progress, step 6"


def row(name: str, value: Any, **beside: Any) -> Callable[[Callable[[Case, FakeHub], None]], Row]:
    """Make a row of the function below it, which gets a hub. An argument alone is said to do nothing."""

    def make(check: Callable[[Case, FakeHub], None]) -> Row:
        def check_with_hub(case: Case) -> None:
            with FakeHub() as hub:
                hub.connect(case.monkeypatch)
                check(case, hub)
            if name != "push_to_hub":
                shown = "..." if name.endswith("token") else repr(value)
                (said,) = case.warnings(**case.setting)
                assert said.startswith(f"`{name}`: {shown} has no effect without `push_to_hub`")

        return plain_row(name, value, QUIET, **SAVING, **beside)(check_with_hub)

    return make


@row("push_to_hub", True)
def push_to_hub(case: Case, hub: FakeHub) -> None:
    case.plain().train()
    assert hub.repos == {}
    case.changed().train()
    assert "model.safetensors" in hub.files("me/changed")


@row("hub_model_id", "me/net", push_to_hub=True)
def hub_model_id(case: Case, hub: FakeHub) -> None:
    case.plain()
    assert set(hub.repos) == {"me/plain"}
    case.changed()
    assert set(hub.repos) == {"me/plain", "me/net"}


@row("hub_strategy", "checkpoint", push_to_hub=True)
def hub_strategy(case: Case, hub: FakeHub) -> None:
    def folders(repo: str) -> set[str]:
        return {name.rpartition("/")[0] for name in hub.files(repo)}

    case.plain().train()
    assert folders("me/plain") == {""}
    case.changed().train()
    assert folders("me/changed") == {"", "last-checkpoint"}


@row("hub_token", "hf_other", push_to_hub=True)
def hub_token(case: Case, hub: FakeHub) -> None:
    case.plain()
    assert hub.tokens == {TOKEN}
    hub.tokens.clear()
    trainer = case.changed()
    assert hub.tokens == {"hf_other"}
    assert "hf_other" not in trainer.args.to_json_string()


@row("hub_private_repo", True, push_to_hub=True)
def hub_private_repo(case: Case, hub: FakeHub) -> None:
    case.plain()
    case.changed()
    assert hub.repos["me/plain"].visibility != "private"
    assert hub.repos["me/changed"].visibility == "private"


@row("hub_always_push", True, push_to_hub=True)
def hub_always_push(case: Case, hub: FakeHub) -> None:
    class Release(TrainerCallback):
        """Lets the hub answer when the last save was handled."""

        def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == 6:
                hub.gate.set()

    for make, repo, messages in (
        (case.plain, "me/plain", [FIRST, "End of training"]),  # the second was passed over
        (case.changed, "me/changed", [FIRST, LAST]),
    ):
        hub.gate.clear()
        make(callbacks=[Release()]).train()
        assert hub.messages(repo) == messages


@row("hub_revision", "draft", push_to_hub=True)
def hub_revision(case: Case, hub: FakeHub) -> None:
    case.plain().train()
    assert "model.safetensors" in hub.files("me/plain")
    case.changed().train()
    assert "model.safetensors" in hub.files("me/changed", "draft")
    assert "model.safetensors" not in hub.files("me/changed")


ROWS = [
    push_to_hub,
    hub_model_id,
    hub_strategy,
    hub_token,
    hub_private_repo,
    hub_always_push,
    hub_revision,
]
