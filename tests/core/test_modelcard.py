"""The model card: its front matter as YAML and huggingface_hub read it, its body as people do."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard
from small import make_net, make_trainer

from drivetrain import EvalPrediction
from drivetrain.modelcard import write_model_card
from drivetrain.modelcard.frontmatter import front_matter


def read_front_matter(text: str) -> Any:
    return yaml.safe_load(text.split("---\n", 2)[1])


def accuracy(prediction: EvalPrediction) -> dict[str, float]:
    hits = prediction.predictions.argmax(-1) == prediction.label_ids
    return {"accuracy": float(hits.mean())}


def read_card(folder: Path) -> ModelCard:
    return ModelCard.load(folder / "README.md")


def rows_of(card: ModelCard) -> list[list[str]]:
    """The cells of the table, header first."""
    lines = [line for line in card.text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [cells[0], *cells[2:]]


# -- front matter ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "plain",
        "owner/name-1.0_b",
        "no",
        "Yes",
        "null",
        "~",
        "",
        "1.5",
        "1e5",
        "2024-01-01",
        "12:30:45",
        "0x1f",
        "a: b",
        "- a",
        "# a",
        "a #b",
        "{a}",
        "[a",
        "*a",
        "&a",
        "!a",
        "%a",
        "@a",
        "`a`",
        "'a'",
        'say "a"',
        "back\\slash",
        "two\nlines\r\n\ttab",
        " spaces ",
        "---",
        "...",
        "a\u2028b\x85c\x7fd\x00e\ufeff",
        "Grüße, 世界 😀",
        "trailing-",
        "a:",
        "=",
        "<<",
    ],
)
def test_any_text_is_read_back_as_it_was(text: str) -> None:
    metadata = {"key": ["x", text], text or "empty": {"inner": text}}
    assert read_front_matter(front_matter(metadata)) == metadata


@pytest.mark.parametrize(
    "value", [0, -3, True, False, 0.5, 1e-05, 1.5e-07, 1e22, -1e300, math.inf, -math.inf]
)
def test_any_number_is_read_back_as_it_was(value: float) -> None:
    read = read_front_matter(front_matter({"value": [value]}))["value"][0]
    assert read == value
    assert type(read) is type(value)


def test_what_is_no_number_is_read_back_as_such() -> None:
    assert math.isnan(read_front_matter(front_matter({"value": [math.nan]}))["value"][0])


def test_lists_and_mappings_nest_to_any_depth() -> None:
    metadata = {"a": [{"b": [[1, 2], [], {}], "c": {"d": [{"e": None}]}}, ["f"]], "g": {"h": {"i": "j"}}}
    assert read_front_matter(front_matter(metadata)) == metadata


def test_what_is_empty_is_left_out_and_zero_is_not() -> None:
    written = front_matter({"a": None, "b": [], "c": {}, "d": "", "e": 0, "f": False})
    assert read_front_matter(written) == {"e": 0, "f": False}


def test_a_lone_surrogate_does_not_make_a_file_that_cannot_be_written() -> None:
    front_matter({"a": "x\ud800y"}).encode("utf-8")


# -- the card ----------------------------------------------------------------------------------------


def test_the_metadata_is_what_was_given(tmp_path: Path) -> None:
    trainer = make_trainer(output_dir=tmp_path)
    trainer.create_model_card(
        language="no",
        license="mit",
        tags=["one", "generated_from_trainer"],
        model_name='My "net": v1',
        finetuned_from="owner/base",
        tasks=["text-classification", "fill-mask"],
        dataset_tags="owner/data",
        dataset="Data",
        dataset_args="config: small",
    )
    card = read_card(tmp_path)
    assert card.data.language == "no"
    assert card.data.license == "mit"
    assert card.data.base_model == "owner/base"
    assert card.data.pipeline_tag == "text-classification"
    assert card.data.datasets == ["owner/data"]
    assert card.data.tags == ["generated_from_trainer", "drivetrain", "one", "fill-mask"]
    assert '# My "net": v1\n' in card.text
    assert "fine-tuned from `owner/base`" in card.text
    assert "on Data." in card.text


def test_a_card_of_a_trainer_that_did_nothing_yet_is_a_card(tmp_path: Path) -> None:
    make_trainer(output_dir=tmp_path / "small-net").create_model_card()
    card = read_card(tmp_path / "small-net")
    assert card.data.to_dict() == {"tags": ["generated_from_trainer", "drivetrain"]}
    assert "# small-net\n" in card.text
    assert "## Results" not in card.text
    assert "|" not in card.text


def test_results_are_those_of_each_evaluation(tmp_path: Path) -> None:
    trainer = make_trainer(
        output_dir=tmp_path,
        eval_strategy="steps",
        eval_steps=2,
        logging_steps=4,
        compute_metrics=accuracy,
    )
    trainer.train()
    trainer.create_model_card(tasks="tabular-classification", dataset="rows")
    card = read_card(tmp_path)
    header, *rows = rows_of(card)
    evaluations = [entry for entry in trainer.state.log_history if "eval_loss" in entry]
    assert header == ["Training loss", "Epoch", "Step", "Validation loss", "Accuracy"]
    assert [row[2] for row in rows] == ["2", "4", "6"]
    assert [row[3] for row in rows] == [f"{entry['eval_loss']:.4f}" for entry in evaluations]
    assert [row[4] for row in rows] == [f"{entry['eval_accuracy']:.4f}" for entry in evaluations]
    (loss,) = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert [row[0] for row in rows] == ["none", f"{loss:.4f}", f"{loss:.4f}"]
    (result,) = card.data.eval_results or []
    assert (result.task_type, result.dataset_type, result.metric_type) == (
        "tabular-classification",
        "rows",
        "accuracy",
    )
    assert result.metric_value == evaluations[-1]["eval_accuracy"]
    assert card.data.to_dict()["metrics"] == ["accuracy"]


def test_results_are_those_of_the_best_model_if_that_was_loaded(tmp_path: Path) -> None:
    values = iter([0.5, 0.9, 0.1])
    trainer = make_trainer(
        output_dir=tmp_path,
        eval_strategy="steps",
        eval_steps=2,
        save_strategy="steps",
        save_steps=2,
        load_best_model_at_end=True,
        metric_for_best_model="score",
        greater_is_better=True,
        compute_metrics=lambda prediction: {"score": next(values)},
    )
    trainer.train()
    trainer.create_model_card()
    text = read_card(tmp_path).text
    assert "after update 4:" in text
    assert "- Score: 0.9000" in text


def test_evaluations_of_several_data_sets_are_one_row(tmp_path: Path) -> None:
    samples = make_trainer().eval_dataset
    trainer = make_trainer(
        output_dir=tmp_path,
        eval_strategy="epoch",
        eval_dataset={"near": samples[:4], "far": samples[4:]},
    )
    trainer.train()
    trainer.create_model_card()
    header, row = rows_of(read_card(tmp_path))
    assert header[3:] == ["Near loss", "Far loss"]
    assert "none" not in row


def test_arguments_are_the_usual_ones_and_those_that_are_no_defaults(tmp_path: Path) -> None:
    trainer = make_trainer(
        output_dir=tmp_path, weight_decay=0.25, adam_beta1=0.9, logging_dir="/home/me/x"
    )
    trainer.create_model_card()
    text = read_card(tmp_path).text
    assert "- `weight_decay`: `0.25`" in text
    assert "- `learning_rate`: `0.01`" in text
    assert "- `seed`: `42`" in text
    assert "adam_beta1" not in text


def test_no_token_and_no_path_is_in_the_card(tmp_path: Path) -> None:
    trainer = make_trainer(
        output_dir=tmp_path / "net",
        hub_token="hf_secret",
        logging_dir="/home/me/logs",
        run_name="/home/me",
    )
    trainer.create_model_card()
    text = (tmp_path / "net" / "README.md").read_text(encoding="utf-8")
    assert "hf_secret" not in text
    assert "_token" not in text
    assert "/home/me" not in text
    assert str(tmp_path) not in text


def test_the_size_of_the_model_and_of_what_is_trained_is_said(tmp_path: Path) -> None:
    model = make_net()
    model.inner.requires_grad_(False)
    total = sum(parameter.numel() for parameter in model.parameters())
    frozen = sum(parameter.numel() for parameter in model.inner.parameters())
    make_trainer(output_dir=tmp_path, model=model).create_model_card()
    text = read_card(tmp_path).text
    assert f"It has {total:,} parameters; {total - frozen:,} of them were trained." in text


def test_a_name_with_signs_of_tables_and_lines_breaks_nothing(tmp_path: Path) -> None:
    trainer = make_trainer(output_dir=tmp_path, eval_strategy="epoch")
    trainer.state.log_history = [{"eval_a|b": 1.0, "eval_note": "x|y\nz", "epoch": 1.0, "step": 3}]
    trainer.create_model_card(model_name="one\ntwo")
    text = read_card(tmp_path).text
    assert "# one two\n" in text
    assert "| none | 1.0000 | 3 | 1.0000 | x\\|y z |" in text


def test_a_base_model_is_what_the_configuration_says(tmp_path: Path) -> None:
    model = make_net()
    model.config = SimpleNamespace(_name_or_path="owner/base")
    make_trainer(output_dir=tmp_path, model=model).create_model_card()
    assert read_card(tmp_path).data.base_model == "owner/base"


def test_a_folder_of_this_machine_is_no_base_model(tmp_path: Path, own_folder: Path) -> None:
    (own_folder / "local").mkdir()
    for name in ("local", "/home/me/base", "./base", ""):
        model = make_net()
        model.config = SimpleNamespace(_name_or_path=name)
        make_trainer(output_dir=tmp_path, model=model).create_model_card()
        assert read_card(tmp_path).data.base_model is None


def test_the_licence_is_that_of_the_base_model_unless_one_is_given(tmp_path: Path) -> None:
    trainer, asked = make_trainer(output_dir=tmp_path), []

    def find(model: str) -> str:
        asked.append(model)
        return "apache-2.0"

    write_model_card(trainer, find_license=find)
    assert read_card(tmp_path).data.license is None
    write_model_card(trainer, finetuned_from="owner/base", find_license=find)
    assert read_card(tmp_path).data.license == "apache-2.0"
    write_model_card(trainer, finetuned_from="owner/base", license="mit", find_license=find)
    assert read_card(tmp_path).data.license == "mit"
    assert asked == ["owner/base"]


def test_a_transformers_model_says_its_library_and_versions(tmp_path: Path) -> None:
    import transformers

    config = transformers.BertConfig(
        vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8
    )
    model = transformers.BertForSequenceClassification(config)
    make_trainer(output_dir=tmp_path, model=model).create_model_card()
    card = read_card(tmp_path)
    assert card.data.library_name == "transformers"
    assert "A `BertForSequenceClassification` trained with drivetrain." in card.text
    assert f"- transformers {transformers.__version__}" in card.text.replace(": ", " ")


# -- where it goes -----------------------------------------------------------------------------------


def test_a_draft_is_replaced_by_a_later_one(tmp_path: Path) -> None:
    trainer = make_trainer(output_dir=tmp_path)
    trainer.create_model_card(model_name="first")
    trainer.create_model_card(model_name="second")
    assert "# second" in (tmp_path / "README.md").read_text(encoding="utf-8")
    assert [path.name for path in tmp_path.glob("*.md")] == ["README.md"]


def test_a_draft_that_huggingface_hub_has_saved_again_is_still_one(tmp_path: Path) -> None:
    trainer = make_trainer(output_dir=tmp_path)
    trainer.create_model_card(model_name="first")
    card = read_card(tmp_path)
    card.data.license = "mit"
    card.save(tmp_path / "README.md")
    trainer.create_model_card(model_name="second")
    assert "# second" in (tmp_path / "README.md").read_text(encoding="utf-8")


def test_a_readme_of_ones_own_stays_and_the_card_goes_beside_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    own = b"# Mine\n\xff written by hand\n"
    (tmp_path / "README.md").write_bytes(own)
    trainer = make_trainer(output_dir=tmp_path)
    with caplog.at_level(logging.WARNING, "drivetrain"):
        trainer.create_model_card(model_name="first")
        trainer.create_model_card(model_name="second")
    assert (tmp_path / "README.md").read_bytes() == own
    assert "# second" in (tmp_path / "README.drivetrain.md").read_text(encoding="utf-8")
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == [
        "README.md is not a draft of drivetrain's and stays"
    ]


def test_a_draft_whose_marker_was_deleted_is_ones_own(tmp_path: Path) -> None:
    trainer = make_trainer(output_dir=tmp_path)
    trainer.create_model_card(model_name="first")
    file = tmp_path / "README.md"
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    file.write_text("".join(line for line in lines if "Delete this line" not in line), encoding="utf-8")
    trainer.create_model_card(model_name="second")
    assert "# first" in file.read_text(encoding="utf-8")


def test_the_form_that_peft_saves_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("---\nlibrary_name: peft\n---\n\n# Model Card for Model ID\n\n")
    make_trainer(output_dir=tmp_path).create_model_card(model_name="second")
    assert "# second" in (tmp_path / "README.md").read_text(encoding="utf-8")
