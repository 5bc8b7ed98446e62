"""Arguments of the model hub."""

from __future__ import annotations

from dataclasses import dataclass

from drivetrain.arguments.choices import HubStrategy
from drivetrain.arguments.fields import argument


@dataclass(init=False, repr=False, eq=False)
class HubArguments:
    """What is pushed to a hub: the plugin 'hub' does it."""

    push_to_hub: bool = argument(False, "Push the model to the Hub: the plugin 'hub'.")
    hub_model_id: str | None = argument(
        None,
        "The repository: 'user/name', or 'name' in your own space. By default: `output_dir`'s name.",
    )
    hub_strategy: HubStrategy | str = argument(
        "every_save",
        "What is pushed when: 'end', 'every_save', 'checkpoint' (and the last one, to resume from) or "
        "'all_checkpoints'.",
    )
    hub_token: str | None = argument(
        None, "The token to push with; shown nowhere. By default: the one that you logged in with."
    )
    hub_private_repo: bool | None = argument(
        None, "Make a new repository private. By default: as the account is set."
    )
    hub_always_push: bool = argument(
        False, "Push a checkpoint even if the one before is still under way."
    )
    hub_revision: str | None = argument(None, "The branch to push to. By default: 'main'.")
