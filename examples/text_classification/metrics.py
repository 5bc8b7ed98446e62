"""How well a classifier does. Needs scikit-learn."""

from __future__ import annotations

from sklearn.metrics import accuracy_score, f1_score

from drivetrain import EvalPrediction


def compute_metrics(prediction: EvalPrediction) -> dict[str, float]:
    """Accuracy, and F1 as the mean over the classes."""
    predicted, labels = prediction.predictions.argmax(axis=-1), prediction.label_ids
    return {
        "accuracy": float(accuracy_score(labels, predicted)),
        "f1": float(f1_score(labels, predicted, average="macro")),
    }
