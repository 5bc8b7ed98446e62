"""Arguments of what is done to the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from drivetrain.arguments.fields import argument


@dataclass(init=False, repr=False, eq=False)
class ModelTreatmentArguments:
    """How a model is changed for training, without a change to its code."""

    gradient_checkpointing: bool = argument(
        False, "Compute activations again in the backward pass instead of keeping them: less memory."
    )
    gradient_checkpointing_kwargs: dict[str, Any] | str | None = argument(
        None, 'How: options of torch.utils.checkpoint, such as {"use_reentrant": false}.'
    )
    torch_compile: bool = argument(False, "Compile the model with torch.compile.")
    torch_compile_backend: str | None = argument(
        None, "The compiler's backend; sets `torch_compile`. By default: 'inductor'."
    )
    torch_compile_mode: str | None = argument(
        None, "The compiler's mode, such as 'max-autotune'; sets `torch_compile`."
    )
    neftune_noise_alpha: float | None = argument(
        None, "Strength of the noise on embeddings in training (NEFTune). The paper used 5 to 15."
    )
    use_liger_kernel: bool = argument(False, "Use Liger's kernels: the plugin 'liger', on a GPU.")
    liger_kernel_config: dict[str, Any] | str | None = argument(
        None, 'Which of its kernels: {"rope": true, "rms_norm": false}. By default: all that fit.'
    )
    past_index: int = argument(
        -1, "Output that is handed to the next step as `mems` (Transformer-XL, XLNet), if not negative."
    )
