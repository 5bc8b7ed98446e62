"""From samples to batches."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from drivetrain import DataCollatorWithPadding, default_data_collator


def test_values_are_stacked_key_by_key() -> None:
    samples = [
        {"ids": [1, 2], "x": torch.ones(3), "y": np.zeros((2, 2)), "z": 0.5, "text": "a", "none": None}
    ] * 4
    batch = default_data_collator(samples)
    assert {key: tuple(value.shape) for key, value in batch.items()} == {
        "ids": (4, 2),
        "x": (4, 3),
        "y": (4, 2, 2),
        "z": (4,),
    }


@pytest.mark.parametrize(
    ("label", "dtype"),
    [
        (1, torch.long),
        (np.int64(1), torch.long),
        (True, torch.long),
        (torch.tensor(1), torch.long),
        (1.5, torch.float),
        (np.float32(1.5), torch.float),
    ],
)
def test_label_becomes_labels_of_the_right_type(label: Any, dtype: torch.dtype) -> None:
    labels = default_data_collator([{"label": label}] * 2)["labels"]
    assert labels.shape == (2,)
    assert labels.dtype == dtype


def test_a_list_under_label_says_for_each_class_whether_it_applies() -> None:
    labels = default_data_collator([{"label": [1, 0, 1]}] * 2)["labels"]
    assert labels.shape == (2, 3)
    assert labels.dtype == torch.float


@pytest.mark.parametrize(
    ("label_ids", "dtype"),
    [
        ([1, 2], torch.long),
        ([0.5, 1.0], torch.float),
        (torch.ones(2), torch.float),
        (np.array([1, 2]), torch.long),
    ],
)
def test_label_ids_become_labels(label_ids: Any, dtype: torch.dtype) -> None:
    labels = default_data_collator([{"label_ids": label_ids}] * 3)["labels"]
    assert labels.shape == (3, 2)
    assert labels.dtype == dtype


def test_samples_may_have_attributes_instead_of_keys() -> None:
    assert default_data_collator([SimpleNamespace(x=1, label=0)] * 2)["x"].tolist() == [1, 1]


def test_values_of_different_lengths_are_an_error_that_says_what_to_do() -> None:
    with pytest.raises(ValueError, match=r"the samples' 'ids' cannot be stacked.*`processing_class`"):
        default_data_collator([{"ids": [1]}, {"ids": [1, 2]}])


def test_tensors_of_another_library_are_refused() -> None:
    with pytest.raises(ValueError, match=r"`return_tensors`: 'tf' is not supported. Type 'pt'"):
        default_data_collator([{"x": 1}], return_tensors="tf")


class Padder:
    """Pads ``ids`` to the longest, as tokenizers do."""

    def pad(self, samples: list[dict[str, Any]], **options: Any) -> dict[str, Any]:
        self.options = options
        width = max(len(sample["ids"]) for sample in samples)
        rows = [sample["ids"] + [0] * (width - len(sample["ids"])) for sample in samples]
        return {
            "ids": torch.tensor(rows),
            "label": torch.tensor([sample["label"] for sample in samples]),
        }


def test_a_padding_collator_asks_the_tokenizer() -> None:
    padder = Padder()
    collator = DataCollatorWithPadding(padder, pad_to_multiple_of=8)
    batch = collator([{"ids": [1], "label": 0}, {"ids": [1, 2], "label": 1}])
    assert batch["ids"].tolist() == [[1, 0], [1, 2]]
    assert batch["labels"].tolist() == [0, 1]
    assert padder.options["pad_to_multiple_of"] == 8
    assert padder.options["return_tensors"] == "pt"


def test_a_trainer_pads_if_what_it_is_given_can() -> None:
    from small import make_trainer

    assert isinstance(make_trainer(processing_class=Padder()).data_collator, DataCollatorWithPadding)
    assert isinstance(make_trainer(tokenizer=Padder()).processing_class, Padder)
    assert make_trainer(processing_class="no padder").data_collator is default_data_collator


def make_tokenizer() -> Any:
    tokenizers = pytest.importorskip("tokenizers")
    transformers = pytest.importorskip("transformers")
    words = {word: index for index, word in enumerate(["[PAD]", "[UNK]", "good", "bad", "film", "very"])}
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="[UNK]")),
        pad_token="[PAD]",
        unk_token="[UNK]",
    )
    tokenizer.backend_tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    return tokenizer


def test_a_real_tokenizer_pads_ids_and_attention_mask() -> None:
    tokenizer = make_tokenizer()
    samples = [
        {**tokenizer("good film"), "label": 1},
        {**tokenizer("very very bad film"), "label": 0},
    ]
    batch = DataCollatorWithPadding(tokenizer)(samples)
    assert batch["input_ids"].tolist() == [[2, 4, 0, 0], [5, 5, 3, 4]]
    assert batch["attention_mask"].tolist() == [[1, 1, 0, 0], [1, 1, 1, 1]]
    assert batch["labels"].tolist() == [1, 0]
    assert "label" not in batch
    assert DataCollatorWithPadding(tokenizer, pad_to_multiple_of=8)(samples)["input_ids"].shape == (2, 8)
    wide = DataCollatorWithPadding(tokenizer, padding="max_length", max_length=6)(samples)
    assert wide["attention_mask"].sum(1).tolist() == [2, 4]
    assert wide["input_ids"].shape == (2, 6)
    arrays = DataCollatorWithPadding(tokenizer, return_tensors="np")(samples)
    assert isinstance(arrays["attention_mask"], np.ndarray)
    assert arrays["labels"].tolist() == [1, 0]
    with pytest.raises(ValueError, match="padding"):
        DataCollatorWithPadding(tokenizer, padding=False)(samples)
    same = DataCollatorWithPadding(tokenizer, padding=False)([samples[0]] * 2)
    assert same["input_ids"].tolist() == [[2, 4], [2, 4]]


def test_the_padding_is_that_of_transformers() -> None:
    transformers = pytest.importorskip("transformers")
    tokenizer = make_tokenizer()
    samples = [{**tokenizer("good " * count), "label_ids": [count, 1]} for count in (3, 1, 5)]
    theirs = transformers.DataCollatorWithPadding(tokenizer, pad_to_multiple_of=4)(samples)
    ours = DataCollatorWithPadding(tokenizer, pad_to_multiple_of=4)(samples)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


class ListPadder:
    """A tokenizer-like object of one's own: it pads ids on the left, and masks what it padded."""

    model_input_names = ("ids", "mask")

    def pad(self, samples: list[dict[str, Any]], **options: Any) -> dict[str, Any]:
        assert options["return_tensors"] == "pt"
        width = max(len(sample["ids"]) for sample in samples)
        gaps = [width - len(sample["ids"]) for sample in samples]
        rows = [[0] * gap + sample["ids"] for gap, sample in zip(gaps, samples, strict=True)]
        masks = [[0] * gap + [1] * (width - gap) for gap in gaps]
        rest = {key: [sample[key] for sample in samples] for key in samples[0] if key != "ids"}
        return {
            name: torch.tensor(value) for name, value in {"ids": rows, "mask": masks, **rest}.items()
        }


def test_an_object_of_ones_own_pads_in_training_evaluation_and_prediction() -> None:
    from small import make_trainer

    class MeanOfWords(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words = torch.nn.Embedding(10, 3)

        def forward(self, ids: Any, mask: Any, labels: Any = None) -> dict[str, Any]:
            weights = mask[:, :, None].float()
            logits = (self.words(ids) * weights).sum(1) / weights.sum(1)
            loss = torch.nn.functional.cross_entropy(logits, labels)
            return {"loss": loss, "logits": logits}

    samples = [{"ids": [index % 3] * (1 + index % 5), "label": index % 3} for index in range(24)]
    trainer = make_trainer(
        model=MeanOfWords(),
        train_dataset=samples,
        eval_dataset=samples,
        processing_class=ListPadder(),
        remove_unused_columns=False,
        group_by_length=True,
        num_train_epochs=40,
        learning_rate=0.1,
    )
    trainer.train()
    assert trainer.evaluate()["eval_loss"] < 0.1
    output = trainer.predict(samples)
    assert output.label_ids.tolist() == [index % 3 for index in range(24)]
    assert output.predictions.argmax(-1).tolist() == output.label_ids.tolist()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("label", value) for value in (1, 0.5, [1, 2], np.int64(1), np.float32(0.5), torch.tensor(2))),
        *(("label_ids", value) for value in ([1, 2], [0.5, 1.0], torch.tensor(2), torch.ones(2))),
    ],
)
def test_labels_are_stacked_as_transformers_does(key: str, value: Any) -> None:
    transformers = pytest.importorskip("transformers")
    samples = [{key: value, "x": [1.0, 2.0]}] * 3
    theirs, ours = transformers.default_data_collator(samples), default_data_collator(samples)
    assert ours.keys() == theirs.keys()
    for name, tensor in theirs.items():
        assert ours[name].dtype == tensor.dtype
        assert torch.equal(ours[name], tensor)


def test_a_real_tokenizer_and_its_data_set_train_a_transformers_model(tmp_path: Any) -> None:
    datasets = pytest.importorskip("datasets")
    transformers = pytest.importorskip("transformers")
    tokenizer = make_tokenizer()
    texts = ["good film", "bad film", "very good", "very very bad film"] * 6
    data = datasets.Dataset.from_dict({"text": texts, "label": [1, 0, 1, 0] * 6})
    data = data.map(lambda row: tokenizer(row["text"]))
    config = transformers.BertConfig(
        vocab_size=6, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    from small import make_args

    from drivetrain import Trainer

    trainer = Trainer(
        transformers.BertForSequenceClassification(config),
        make_args(tmp_path, num_train_epochs=15, save_strategy="epoch", save_total_limit=1),
        train_dataset=data,
        eval_dataset=data,
        processing_class=tokenizer,
        compute_metrics=lambda p: {"accuracy": (p.predictions.argmax(-1) == p.label_ids).mean()},
    )
    trainer.train()
    assert trainer.evaluate()["eval_accuracy"] == 1.0
    assert trainer.state.total_flos > 0
    (checkpoint,) = tmp_path.glob("checkpoint-*")
    again = transformers.BertForSequenceClassification.from_pretrained(checkpoint)
    weights = trainer.model.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in again.state_dict().items())
    assert transformers.AutoTokenizer.from_pretrained(checkpoint)("good film")["input_ids"] == [2, 4]
