"""Text from a trained model, one character at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from model import GPT
    from text import Vocabulary


@torch.no_grad()
def generate(
    model: GPT,
    vocabulary: Vocabulary,
    prompt: str,
    num_characters: int,
    temperature: float = 0.7,
    seed: int = 0,
) -> str:
    """Continue a text.

    Args:
        model: The model, on any device.
        vocabulary: The characters that it was trained with.
        prompt: What the text begins with: at least one character.
        num_characters: How many to add.
        temperature: Near 0: always the likeliest character. 1: as likely as the model says.
        seed: The same seed gives the same text.

    Returns:
        The prompt and what follows it.
    """
    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    random = torch.Generator().manual_seed(seed)
    ids = vocabulary.encode(prompt)
    for _ in range(num_characters):
        window = ids[-model.config.block_size :].unsqueeze(0).to(device)  # (1, T)
        scores = model(window)["logits"][0, -1].float().cpu() / temperature  # (V,)
        ids = torch.cat([ids, torch.multinomial(scores.softmax(dim=-1), 1, generator=random)])
    model.train(was_training)
    return vocabulary.decode(ids)
