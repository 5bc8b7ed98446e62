"""A small GPT in plain PyTorch: what `demo.py` trains.

Any ``nn.Module`` will do for a `Trainer`, as long as ``forward`` returns the loss when it gets labels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn


@dataclass(frozen=True)
class GPTConfig:
    """The size of a `GPT`.

    Attributes:
        vocab_size: Different tokens that there are (V in the shapes below).
        block_size: The most tokens that the model looks at (the most T can be).
        num_layers: Blocks of attention and feed-forward, one after the other.
        num_heads: Heads of each attention (H).
        width: Numbers that describe a token inside the model (C).
        dropout: Share of activations that are set to zero during training.
    """

    vocab_size: int
    block_size: int = 64
    num_layers: int = 2
    num_heads: int = 4
    width: int = 128
    dropout: float = 0.0


class CausalSelfAttention(nn.Module):
    """Each position gathers from itself and from those before it."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.num_heads = config.num_heads
        self.dropout = config.dropout
        self.queries_keys_values = nn.Linear(config.width, 3 * config.width, bias=False)
        self.output = nn.Linear(config.width, config.width, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """From (B, T, C) to (B, T, C)."""
        batch, length, width = x.shape
        split = (batch, length, self.num_heads, width // self.num_heads)
        q, k, v = (
            part.view(split).transpose(1, 2)  # (B, H, T, C / H)
            for part in self.queries_keys_values(x).chunk(3, dim=-1)
        )
        dropout = self.dropout if self.training else 0.0
        heads = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout, is_causal=True)
        return self.output(heads.transpose(1, 2).reshape(batch, length, width))


class Block(nn.Module):
    """Attention, then a feed-forward network, each added to what came in; normalized before each."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.width)
        self.attention = CausalSelfAttention(config)
        self.feed_forward_norm = nn.LayerNorm(config.width)
        self.feed_forward = nn.Sequential(
            nn.Linear(config.width, 4 * config.width),
            nn.GELU(),
            nn.Linear(4 * config.width, config.width),
        )
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """From (B, T, C) to (B, T, C)."""
        x = x + self.dropout(self.attention(self.attention_norm(x)))
        return x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))


class GPT(nn.Module):
    """Predicts, at each position of a text, the token that comes next."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.config = config
        self.tokens = nn.Embedding(config.vocab_size, config.width)
        self.positions = nn.Embedding(config.block_size, config.width)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.num_layers))
        self.norm = nn.LayerNorm(config.width)
        for module in self.modules():
            _initialize(module, std=config.width**-0.5)

    def forward(
        self, input_ids: torch.Tensor, labels: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        """Score every token as the next one, at every position.

        Args:
            input_ids: Tokens, int64 of shape (B, T), with T no longer than the block size.
            labels: The token that follows at each position, int64 of shape (B, T). -100 counts for
                nothing.

        Returns:
            ``logits``, of shape (B, T, V); with labels also ``loss``, the mean cross-entropy in nats.
        """
        positions = torch.arange(input_ids.shape[1], device=input_ids.device)
        x = self.dropout(self.tokens(input_ids) + self.positions(positions))  # (B, T, C)
        for block in self.blocks:
            x = block(x)
        # Tied weights: the embedding of a token is also what its score is computed with.
        logits = F.linear(self.norm(x), self.tokens.weight)
        if labels is None:
            return {"logits": logits}
        return {"loss": F.cross_entropy(logits.flatten(0, 1), labels.flatten()), "logits": logits}


def _initialize(module: nn.Module, std: float) -> None:
    """Normal weights and zero biases.

    With ``std`` = 1 / sqrt(width) a product with normalized activations is about as large as they
    are. GPT-2's 0.02 is that of a much wider model: this one would learn half as fast from it.
    """
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=std)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)
