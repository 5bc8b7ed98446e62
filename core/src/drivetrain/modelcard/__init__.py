"""The model card: a draft of a README.md that says what a model is and how it was trained."""

from drivetrain.modelcard.card import CARD as CARD
from drivetrain.modelcard.card import CARD_BESIDE as CARD_BESIDE
from drivetrain.modelcard.card import write_model_card as write_model_card
