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


def test_a_real_tokenizer_and_its_data_set_train_a_transformers_model(tmp_path: Any) -> None:
    datasets = pytest.importorskip("datasets")
    tokenizers = pytest.importorskip("tokenizers")
    transformers = pytest.importorskip("transformers")
    words = {word: index for index, word in enumerate(["[PAD]", "[UNK]", "good", "bad", "film", "very"])}
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="[UNK]")),
        pad_token="[PAD]",
        unk_token="[UNK]",
    )
    tokenizer.backend_tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
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
    assert torch.equal(again.classifier.weight, trainer.model.classifier.weight)
    assert transformers.AutoTokenizer.from_pretrained(checkpoint)("good film")["input_ids"] == [2, 4]
