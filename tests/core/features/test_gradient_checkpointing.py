"""`gradient_checkpointing`, with plain modules and with transformers' models."""

from __future__ import annotations

import copy
import io
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from small import are_equal, make_args, make_trainer, weights_of
from torch import nn

from drivetrain import TrainerCallback
from drivetrain_registry import UsageError


class Block(nn.Module):
    """A layer with dropout, which counts how often it computes."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(6, 6)
        self.dropout = nn.Dropout(0.3)
        self.count = 0

    def forward(self, x: torch.Tensor, *, scale: float) -> torch.Tensor:
        self.count += 1
        return self.dropout(torch.relu(self.inner(x))) * scale + x


class Stack(nn.Module):
    """Blocks, and the classifier."""

    gradient_checkpointing_modules: Any = ("Block",)

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Block() for _ in range(3))
        self.outer = nn.Linear(6, 3)

    def forward(self, x: torch.Tensor, labels: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        for layer in self.layers:
            x = layer(x, scale=0.5)
        logits = self.outer(x)
        if labels is None:
            return {"logits": logits}
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}

    @property
    def counts(self) -> list[int]:
        return [layer.count for layer in self.layers]


class NamedStack(Stack):
    gradient_checkpointing_modules = ("layers.[01]*",)


class SilentStack(Stack):
    gradient_checkpointing_modules = ()


class OwnStack(SilentStack):
    """Offers the method instead."""

    given: Any = None

    def gradient_checkpointing_enable(self, gradient_checkpointing_kwargs: Any = None) -> None:
        self.given = gradient_checkpointing_kwargs


class BareStack(SilentStack):
    """Offers the method without options."""

    is_on = False

    def gradient_checkpointing_enable(self) -> None:
        self.is_on = True


def make_stack(cls: type[Stack] = Stack) -> Stack:
    torch.manual_seed(3)
    return cls()


def train(model: nn.Module, **options: Any) -> Any:
    trainer = make_trainer(model=model, **options)
    trainer.train()
    return trainer


def test_weights_are_the_same_to_the_last_bit_and_each_block_computes_twice() -> None:
    plain, recomputing = make_stack(), make_stack()
    expected = train(plain, max_steps=5)
    actual = train(recomputing, max_steps=5, gradient_checkpointing=True)
    assert are_equal(weights_of(expected), weights_of(actual))
    assert plain.counts == [5, 5, 5]
    assert recomputing.counts == [10, 10, 10]


def test_activations_are_not_kept() -> None:
    def saved_bytes(**options: Any) -> int:
        sizes: list[int] = []

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            sizes.append(tensor.numel() * tensor.element_size())
            return tensor

        class Watching(Stack):
            def forward(self, x: torch.Tensor, labels: torch.Tensor | None = None) -> Any:
                with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
                    return super().forward(x, labels)

        train(make_stack(Watching), max_steps=1, **options)
        return sum(sizes)

    assert saved_bytes(gradient_checkpointing=True) < saved_bytes() / 2


def test_evaluations_compute_each_block_once_and_the_forward_is_given_back() -> None:
    model = make_stack()
    before = list(model.state_dict())
    trainer = train(model, max_steps=1, gradient_checkpointing=True)
    counts = model.counts
    trainer.evaluate()
    assert model.counts == [count + 2 for count in counts]  # two batches
    assert all("forward" not in vars(module) for module in model.modules())
    assert list(model.state_dict()) == before


def test_a_pattern_of_names_chooses_modules() -> None:
    model = make_stack(NamedStack)
    train(model, max_steps=2, gradient_checkpointing=True)
    assert model.counts == [4, 4, 2]


def test_the_forward_is_given_back_if_training_fails() -> None:
    class Fail(TrainerCallback):
        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            raise RuntimeError("enough")

    model = make_stack()
    with pytest.raises(RuntimeError, match="enough"):
        train(model, callbacks=[Fail()], gradient_checkpointing=True)
    assert all("forward" not in vars(module) for module in model.modules())


def test_a_copy_and_a_pickle_taken_in_training_are_whole_models() -> None:
    copies: list[nn.Module] = []

    class Copy(TrainerCallback):
        def on_step_end(self, *args: Any, model: Any = None, **kwargs: Any) -> None:
            copies.append(copy.deepcopy(model))
            stream = io.BytesIO()
            torch.save(model, stream)
            stream.seek(0)
            copies.append(torch.load(stream, weights_only=False))

    model = make_stack()
    train(model, max_steps=1, callbacks=[Copy()], gradient_checkpointing=True)
    x = torch.randn(2, 6)
    for other in copies:
        assert torch.equal(other.eval()(x)["logits"], model.eval()(x)["logits"])
        with torch.no_grad():
            next(iter(other.parameters())).fill_(9.0)
        assert not torch.equal(other(x)["logits"], model(x)["logits"])


def test_with_accumulation_and_bfloat16_weights_are_the_same_too() -> None:
    options: dict[str, Any] = {"max_steps": 3, "gradient_accumulation_steps": 2, "bf16": True}
    expected = train(make_stack(), **options)
    actual = train(make_stack(), gradient_checkpointing=True, **options)
    assert are_equal(weights_of(expected), weights_of(actual))


def test_a_model_that_offers_the_method_gets_the_options() -> None:
    model: Any = make_stack(OwnStack)
    train(model, max_steps=1, gradient_checkpointing=True)
    assert model.given == {"use_reentrant": False}
    chosen = {"use_reentrant": True, "preserve_rng_state": False}
    train(model, max_steps=1, gradient_checkpointing=True, gradient_checkpointing_kwargs=chosen)
    assert model.given == chosen


def test_options_for_a_method_that_takes_none_are_refused() -> None:
    model: Any = make_stack(BareStack)
    train(model, max_steps=1, gradient_checkpointing=True)
    assert model.is_on
    with pytest.raises(UsageError, match="BareStack.gradient_checkpointing_enable takes none"):
        train(model, gradient_checkpointing=True, gradient_checkpointing_kwargs={"use_reentrant": False})


def test_a_model_that_does_not_offer_it_is_told_how_to() -> None:
    with pytest.raises(
        UsageError, match=r"SilentStack does not offer it.*gradient_checkpointing_modules"
    ):
        train(make_stack(SilentStack), gradient_checkpointing=True)


@pytest.mark.parametrize(
    ("modules", "message"),
    [(("Blok",), r"'Blok' in .* is neither.*'layers.0' \(Block\)"), ("Block", "Write a tuple of texts")],
)
def test_modules_that_are_not_there_are_refused(modules: Any, message: str) -> None:
    model = make_stack()
    model.gradient_checkpointing_modules = modules
    with pytest.raises(UsageError, match=message):
        train(model, gradient_checkpointing=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"reentrant": True},
            "'reentrant' is none of torch.utils.checkpoint's options. Allowed: use_reen",
        ),
        ({"use_reentrant": "no"}, "use_reentrant is 'no'. Type True or False"),
        ({"determinism_check": "some"}, "determinism_check is 'some'. Type one of 'default', 'none'"),
        ({"context_fn": 3}, "context_fn is 3. Type a function"),
        ({"use_reentrant": True, "debug": True}, "debug does not go with use_reentrant=True"),
    ],
)
def test_options_that_torch_does_not_have_are_refused_at_once(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        make_args(gradient_checkpointing=True, gradient_checkpointing_kwargs=options)


def test_reentrant_recomputation_of_plain_modules_is_refused() -> None:
    options = {"use_reentrant": True}
    with pytest.raises(UsageError, match="use_reentrant=True loses gradients"):
        train(make_stack(), gradient_checkpointing=True, gradient_checkpointing_kwargs=options)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
class TestTransformers:
    @staticmethod
    def make_gpt2(use_cache: bool = True) -> Any:
        import both_trainers as both

        model: Any = both.make_gpt2()
        model.config.use_cache = use_cache
        return model

    @pytest.mark.parametrize("use_reentrant", [False, True])
    def test_weights_are_the_same_to_the_last_bit(
        self, use_reentrant: bool, caplog: pytest.LogCaptureFixture
    ) -> None:
        import both_trainers as both

        data: dict[str, Any] = {"train_dataset": both.text_samples(), "max_steps": 4}
        expected = train(self.make_gpt2(use_cache=False), **data)
        counts = 0

        def count(*_: Any) -> None:
            nonlocal counts
            counts += 1

        model = self.make_gpt2()
        model.transformer.h[0].ln_1.register_forward_hook(count)
        options = {"use_reentrant": use_reentrant}
        with caplog.at_level(logging.INFO, logger="drivetrain"):
            actual = train(
                model, gradient_checkpointing=True, gradient_checkpointing_kwargs=options, **data
            )
        assert are_equal(weights_of(expected), weights_of(actual))
        assert counts == 8
        assert "`use_cache` is off while the model trains" in caplog.text
        assert model.config.use_cache is True

    @pytest.mark.parametrize("use_reentrant", [False, True])
    def test_layers_above_frozen_embeddings_get_the_same_gradients(self, use_reentrant: bool) -> None:
        import both_trainers as both

        def frozen() -> Any:
            model = self.make_gpt2(use_cache=False)
            model.get_input_embeddings().requires_grad_(False)
            return model

        data: dict[str, Any] = {"train_dataset": both.text_samples(), "max_steps": 3}
        options = {"use_reentrant": use_reentrant}
        expected = train(frozen(), **data)
        actual = train(
            frozen(), gradient_checkpointing=True, gradient_checkpointing_kwargs=options, **data
        )
        assert are_equal(weights_of(expected), weights_of(actual))

    @pytest.mark.parity
    def test_numbers_are_those_of_transformers(self, tmp_path: Path) -> None:
        import both_trainers as both

        arguments = {"gradient_checkpointing": True, "gradient_accumulation_steps": 2}
        both.compare(both.Scenario(arguments, self.make_gpt2, both.text_samples), tmp_path)

    def test_a_model_that_cannot_is_refused_with_its_own_words(self) -> None:
        import both_trainers as both

        model = self.make_gpt2()
        type(model).supports_gradient_checkpointing, before = (
            False,
            type(model).supports_gradient_checkpointing,
        )
        try:
            with pytest.raises(UsageError, match="GPT2LMHeadModel cannot do it: .*does not support"):
                train(model, train_dataset=both.text_samples(), gradient_checkpointing=True)
        finally:
            type(model).supports_gradient_checkpointing = before


def test_a_second_run_recomputes_as_the_first_did() -> None:
    model = make_stack()
    trainer = train(model, max_steps=2, gradient_checkpointing=True)
    trainer.train()
    assert model.counts == [8, 8, 8]
