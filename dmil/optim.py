"""AdamW for a stack of replicas, each with its own learning rate and weight decay, in one fused step."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


class StackedAdamW:
    """Decoupled weight decay (Loshchilov and Hutter, ICLR 2019) on rows of one matrix.

    parameters: (S, P), one replica per row, updated in place. lr, weight_decay: (S,). The first ``n_decay``
    columns decay. torch's fused Adam runs once over the whole stack with learning rate one on a scratch
    tensor, which gives every replica's direction in one pass; scale and decay are then per row.
    """

    def __init__(self, parameters: Tensor, lr: Tensor, weight_decay: Tensor, *, n_decay: int | None = None) -> None:
        self.parameters = parameters
        self.lr, self.weight_decay = lr.clone().unsqueeze(-1), weight_decay.unsqueeze(-1)
        self.n_decay = parameters.shape[-1] if n_decay is None else n_decay
        self._reset(torch.zeros_like(parameters, memory_format=torch.contiguous_format))

    def _reset(self, direction: Tensor) -> None:
        self.direction = torch.nn.Parameter(direction)
        self.adam = torch.optim.Adam([self.direction], lr=1.0, fused=True)

    @torch.no_grad()
    def step(self, gradients: Tensor) -> None:
        """One update; gradients (S, P), contiguous."""
        self.direction.zero_()
        self.direction.grad = gradients
        self.adam.step()
        self.parameters[:, : self.n_decay].mul_(1 - self.lr * self.weight_decay)
        self.parameters.addcmul_(self.direction, self.lr)

    def state(self) -> dict[str, Tensor]:
        """What ``restore`` needs to go on from here."""
        moments = self.adam.state_dict()["state"].get(0, {})
        return {"lr": self.lr, **{f"adam.{k}": v for k, v in moments.items()}}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Goes on from a ``state`` of the same replicas."""
        self.lr.copy_(state["lr"])
        moments = {k.removeprefix("adam."): v for k, v in state.items() if k.startswith("adam.")}
        if moments:
            self.adam.load_state_dict(self.adam.state_dict() | {"state": {0: moments}})

    def keep(self, parameters: Tensor, rows: Tensor) -> None:
        """Goes on with some replicas only: ``parameters`` is the new matrix of the given old rows."""
        state = self.adam.state_dict()
        for moments in state["state"].values():
            moments |= {name: moments[name][rows] for name in ("exp_avg", "exp_avg_sq")}
        self.parameters, self.lr, self.weight_decay = parameters, self.lr[rows], self.weight_decay[rows]
        self._reset(self.direction.detach()[rows])
        self.adam.load_state_dict(state)
