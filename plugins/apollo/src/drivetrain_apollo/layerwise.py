"""`apollo_adamw_layerwise`."""

from __future__ import annotations

from drivetrain.plugin import LayerwisePlugin, StepsInBackward
from drivetrain_apollo.apollo import Apollo
from drivetrain_apollo.optimizer import ApolloAdamW


class ApolloInBackward(StepsInBackward, Apollo):
    """`Apollo`, stepping in backward."""


class LayerwiseApolloAdamW(LayerwisePlugin, ApolloAdamW):
    """`apollo_adamw` without a gradient of the whole model at any time."""

    optimizer = ApolloInBackward
