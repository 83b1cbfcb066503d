"""Parts of a model that learn side by side without knowing of each other: each is kept as it was when it was best."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dmil.stack import Stack


class Parts:
    """Of every row of a stack the best epoch of each of ``Method.judged_parts``, and where in the stack they lie.

    columns: of the flat matrix, for each part; rest: those of none. buffers: names, for each part. best (S, K, 2):
    score and minus the loss of the best epoch so far.
    """

    def __init__(self, stack: Stack) -> None:
        index = stack.views(torch.arange(stack.flat.shape[1], device=stack.flat.device))
        prefixes = stack.module.judged_parts
        self.columns = [
            torch.cat([index[name].flatten() for name in index if name.startswith(prefix)]) for prefix in prefixes
        ]
        self.buffers = [[name for name in stack.buffers if name.startswith(prefix)] for prefix in prefixes]
        is_rest = torch.ones(stack.flat.shape[1], dtype=torch.bool, device=stack.flat.device)
        is_rest[torch.cat(self.columns)] = False
        self.rest = is_rest.nonzero().flatten()
        self.best = torch.full(
            (len(stack.flat), len(prefixes), 2), -math.inf, dtype=torch.float64, device=stack.flat.device
        )

    def update(self, score: Tensor, loss: Tensor) -> list[tuple[int, int]]:
        """Rows and parts for which this epoch, of such scores (S, K) and losses (S, K), is the best so far: highest
        score, ties by lower loss, further ties the earliest. One whose loss is not finite is never the best."""
        now = torch.stack([score.double(), -loss.double()], -1)
        (first, second), (best, tie) = now.unbind(-1), self.best.unbind(-1)
        is_better = ((first > best) | ((first == best) & (second > tie))) & loss.isfinite()
        self.best = torch.where(is_better.unsqueeze(-1), now, self.best)
        return [(row, part) for row, part in is_better.nonzero().tolist()]
