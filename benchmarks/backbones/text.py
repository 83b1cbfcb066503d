"""MiniLM as an encoder of texts: frozen, which stacks, or fine-tuned."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from benchmarks.backbones.vision import projection
from benchmarks.backbones.weights import CONFIG, check_switch, load, quiet_transformers
from benchmarks.errors import UserError
from benchmarks.registry import minilm_folder
from dmil.encoders import Alone, Source

CLS = 101
"""The token that every text starts with in MiniLM's own numbering."""


def minilm(source: Source, *, width: int, depth: int, dropout: float, frozen: bool = True) -> nn.Module:
    """MiniLM-L6-v2 (Wang et al., NeurIPS 2020) up to the mean of its last states, then ``vision.projection``.

    It reads the numbers of its own tokenizer (``token_ids`` of datasets/mosi_tokens.py): 101 first, 0 for padding. A
    dataset whose words have numbers of their own is refused at the first batch. frozen: its 22.6 million weights stay
    as they are, belong to no replica, are not counted as parameters and are not in checkpoints; all replicas of a
    stack train at once. Fine-tuned, replicas train one by one, and the learning rate of the suite is meant for
    layers that start from nothing: 2e-5 to 1e-4 is usual. Its own dropout is off, ``dropout`` acts on the mean.

    Raises:
        UserError: the weights cannot be had, or texts are longer than the positions that the model knows.
    """
    check_switch("minilm", "frozen", frozen)
    folder = minilm_folder()
    model = _shared(folder) if frozen else _bert(folder)
    config = model.config
    if source.shape[0] > config.max_position_embeddings:
        raise UserError(
            f"encoder minilm reads texts of up to {config.max_position_embeddings} tokens, but got {source.shape[0]}"
        )
    body = Frozen(folder) if frozen else Alone(Fine(model), 1)
    return nn.Sequential(body, projection(config.hidden_size, width, depth, dropout))


def _bert(folder: Path) -> Any:
    with quiet_transformers() as library:
        config = library.BertConfig.from_json_file(folder / CONFIG)
        config.hidden_dropout_prob = config.attention_probs_dropout_prob = 0.0
        return load(library.BertModel, config, folder, add_pooling_layer=False, attn_implementation="sdpa")


@lru_cache(maxsize=1)
def _shared(folder: Path) -> Any:
    """One copy for every replica of every run in this process; nothing ever writes to it."""
    return _bert(folder).requires_grad_(False).eval()


def pooled(model: Any, ids: Tensor) -> Tensor:
    """Mean of the last hidden states over the tokens that are there, zero where none is: (B, T) to (B, hidden).

    Raises ValueError for numbers that are not MiniLM's.
    """
    there = ids != 0
    is_blank = ~there.any(1)
    if not bool(((ids[:, 0] == CLS) | is_blank).all()):
        raise ValueError(f"encoder minilm reads texts in its own tokenizer's numbers, which start with {CLS}")
    longest = max(1, int(there.sum(1).max()))
    ids, there = ids[:, :longest], there[:, :longest]
    seen = there | is_blank.unsqueeze(-1)  # attention to nothing is not a number
    hidden: Tensor = model(input_ids=ids, attention_mask=seen.long()).last_hidden_state
    weight = there.unsqueeze(-1).to(hidden.dtype)
    return (hidden * weight).sum(1) / weight.sum(1).clamp(min=1)


class Fine(nn.Module):
    """Texts (B, T) to (B, 384), by weights of its own that learn."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor) -> Tensor:
        return pooled(self.model, ids)


class Frozen(nn.Module):
    """Texts (..., B, T) to (..., B, 384), by weights that are the same for every replica and never change.

    They are in float32 on the device of the texts and in no ``state_dict``. The scale makes no difference: it is there
    so that the result has the type that the rest of the method computes in.
    """

    like: Tensor

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        self.register_buffer("like", torch.ones(()), persistent=False)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        twin = type(self)(self.folder)
        twin.train(self.training)
        return twin.to(self.like.device, self.like.dtype)

    @torch.no_grad()
    def forward(self, ids: Tensor) -> Tensor:
        model = _shared(self.folder).to(ids.device)
        found = pooled(model, ids.flatten(0, -2))
        return found.unflatten(0, ids.shape[:-1]).to(self.like.dtype)
