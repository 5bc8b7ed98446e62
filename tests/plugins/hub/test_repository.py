"""The repository: how it is called, made and found, and what is said where that cannot be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fake_hub import TOKEN, FakeHub, Repo
from small import make_args, make_trainer

from drivetrain import Trainer, UsageError
from drivetrain.parts import load_hub
from drivetrain_registry import Entry, Registry, UnknownNameError

# huggingface_hub uploads large files in a way of which the library beneath it warns.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


def test_it_is_made_with_the_trainer_and_called_like_the_output_folder(
    pushing: Any, hub: FakeHub
) -> None:
    pushing()
    assert list(hub.repos) == ["me/net"]
    assert hub.tokens == {TOKEN}


@pytest.mark.parametrize(("asked", "made"), [("name", "me/name"), ("team/name", "team/name")])
def test_its_name_can_be_given_with_an_owner_or_without(
    pushing: Any, hub: FakeHub, asked: str, made: str
) -> None:
    pushing(hub_model_id=asked).push_to_hub()
    assert list(hub.repos) == [made]
    assert hub.messages(made) == ["End of training"]


def test_one_that_is_there_is_used(pushing: Any, hub: FakeHub) -> None:
    hub.repos["me/net"] = there = Repo()
    pushing().push_to_hub()
    assert hub.repos == {"me/net": there}
    assert hub.messages("me/net") == ["End of training"]


@pytest.mark.parametrize(("asked", "visibility"), [(True, "private"), (False, "public"), (None, None)])
def test_a_new_one_can_be_private(
    pushing: Any, hub: FakeHub, asked: bool | None, visibility: str | None
) -> None:
    pushing(hub_private_repo=asked)
    assert hub.repos["me/net"].visibility == visibility


def test_a_branch_is_made_and_pushed_to(pushing: Any, hub: FakeHub) -> None:
    trainer = pushing(hub_revision="try/one")
    assert list(hub.repos["me/net"].branches) == ["main", "try/one"]
    trainer.push_to_hub()
    assert hub.files("me/net") == {}
    assert "model.safetensors" in hub.files("me/net", "try/one")
    pushing(hub_revision="try/one").push_to_hub()  # it is there by now


def test_a_push_can_go_to_another_branch(pushing: Any, hub: FakeHub) -> None:
    pushing().push_to_hub(revision="other")
    assert [commit.branch for commit in hub.repos["me/net"].commits] == ["other"]


def test_one_that_nobody_may_make_is_an_error_before_training(pushing: Any) -> None:
    with pytest.raises(
        UsageError, match=r"`hub_model_id`: the repository 'others/net' can be neither made"
    ):
        pushing(hub_model_id="others/net")


def test_a_missing_token_is_an_error_before_training(
    pushing: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "none"))
    with pytest.raises(UsageError, match=r"Log in with `hf auth login` or pass `hub_token`"):
        pushing()


def test_arguments_are_made_without_a_network_and_the_trainer_says_that_there_is_none() -> None:
    args = make_args(push_to_hub=True)
    with pytest.raises(
        UsageError, match="`hub_model_id`: the repository 'out' can be neither made nor found"
    ):
        make_trainer(output_dir=args.output_dir, push_to_hub=True)


@pytest.mark.parametrize("name", ["a b", "a/b/c", "-a", "a..b", "x" * 97])
def test_a_name_that_no_repository_has_is_refused_with_the_arguments(name: str) -> None:
    with pytest.raises(UsageError, match=r"`hub_model_id`: '.*' is no name of a repository"):
        make_args(push_to_hub=True, hub_model_id=name)


def test_a_token_with_a_line_break_is_refused_and_not_shown() -> None:
    with pytest.raises(UsageError, match=r"`hub_token`: it has a space, a line break") as caught:
        make_args(push_to_hub=True, hub_token="hf_mine\n")
    assert "hf_mine" not in str(caught.value)


def test_a_token_given_to_a_push_is_looked_at_too(pushing: Any) -> None:
    trainer = pushing()
    with pytest.raises(UsageError, match=r"`token`: it has a space") as caught:
        trainer.push_to_hub(token="hf_other\n")
    assert "hf_other" not in str(caught.value)


@pytest.mark.parametrize("is_asked_for", [True, False])
def test_the_plugin_is_asked_for_by_its_own_argument(is_asked_for: bool) -> None:
    with pytest.raises(
        UsageError, match=r"`plugins`: 'hub' has an argument of its own\. Type push_to_hub"
    ):
        make_args(push_to_hub=is_asked_for, plugins=["hub"])


def test_checkpoints_that_hold_the_model_alone_are_said_to(caplog: pytest.LogCaptureFixture) -> None:
    make_args(push_to_hub=True, hub_strategy="checkpoint", save_only_model=True)
    assert (
        "`hub_strategy`: 'checkpoint' pushes checkpoints, and with save_only_model=True" in caplog.text
    )
    caplog.clear()
    make_args(push_to_hub=True, hub_strategy="every_save", save_only_model=True)
    assert "hub_strategy" not in caplog.text


def test_without_the_plugin_the_arguments_say_what_to_install(
    our_entries: list[Entry], monkeypatch: pytest.MonkeyPatch
) -> None:
    others = [entry for entry in our_entries if entry.distribution != "drivetrain-hub"]
    monkeypatch.setattr("drivetrain_registry.registry._default", Registry(others))
    with pytest.raises(UnknownNameError, match=r"`push_to_hub`: .*pip install drivetrain-hub"):
        make_args(push_to_hub=True)


def test_an_overridden_init_hf_repo_is_heard(pushing: Any, hub: FakeHub) -> None:
    class Own(Trainer):
        def init_hf_repo(self, token: str | None = None) -> None:
            super().init_hf_repo(token="hf_own")

    pushing(cls=Own)
    assert hub.tokens == {"hf_own"}


def test_another_process_than_the_first_makes_no_repository_and_pushes_nothing(
    pushing: Any, hub: FakeHub
) -> None:
    class Second(Trainer):
        def is_world_process_zero(self) -> bool:
            return False

    trainer = pushing(cls=Second, hub_strategy="checkpoint")
    trainer.train()
    assert trainer.push_to_hub() is None
    assert hub.repos == {}


def test_the_licence_of_a_model_is_what_its_card_says(hub: FakeHub) -> None:
    hub.repos["owner/base"] = base = Repo()
    base.branches["main"]["README.md"] = b"---\nlicense: mit\n---\n# Base\n"
    hub.repos["owner/plain"] = Repo()
    plugin = load_hub(make_args(push_to_hub=True))
    assert plugin.find_license("owner/base") == "mit"
    assert plugin.find_license("owner/plain") is None
    assert plugin.find_license("owner/none") is None
