"""S models of one class as one module: parameters (S, *shape), views into one matrix (S, P)."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from dmil.encoders import Alone
from dmil.method import Method, Stage
from dmil.nn import Noise, attach_noise
from dmil.seeds import generator
from dmil.settings import stack_settings


@dataclass
class Streams:
    """The random numbers of one replica; they depend on its seed alone, never on its neighbours."""

    order: torch.Generator
    normal: torch.Generator
    uniform: torch.Generator

    @classmethod
    def of(cls, seed: int, device: torch.device | str) -> Streams:
        return cls(
            generator("order", seed),
            generator("normal", seed, device=device),
            generator("uniform", seed, device=device),
        )

    def state(self) -> dict[str, Tensor]:
        """Where the generators stand."""
        return {kind: one.get_state() for kind, one in vars(self).items()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Goes on from a ``state``."""
        for kind, one in vars(self).items():
            one.set_state(state[kind])


class ReplicaNoise(Noise):
    """Draws for a whole stack, row s from the generators of replica s, in blocks of ``block`` numbers a row.

    drawn: by kind, what each row has left of its block; a matrix as long as all took as many. Blocks are in single
    precision or better whatever they are drawn for: in mixed precision, layers of both kinds draw from one.
    """

    def __init__(self, streams: Sequence[Streams], block: int = 1 << 15) -> None:
        self.streams, self.block = list(streams), block
        self.drawn: dict[str, Tensor | list[Tensor]] = {}
        self.counts: tuple[int, ...] = ()

    @contextmanager
    def of_objects(self, counts: Sequence[int]) -> Iterator[None]:
        """While it lasts, row s draws for its first ``counts[s]`` objects alone: how many its neighbours have, and how
        far it is filled up for their sake, must not show in its numbers. Empty: all rows have as many."""
        self.counts = tuple(counts)
        try:
            yield
        finally:
            self.counts = ()

    def normal(self, like: Tensor) -> Tensor:
        return self._take("normal", like)

    def uniform(self, like: Tensor) -> Tensor:
        return self._take("uniform", like)

    def keep(self, rows: Sequence[int]) -> None:
        self.streams = [self.streams[row] for row in rows]
        self.drawn = {
            kind: left[list(rows)] if isinstance(left, Tensor) else [left[row] for row in rows]
            for kind, left in self.drawn.items()
        }

    def state(self) -> dict[str, Tensor]:
        """What is left of the blocks, by kind and row."""
        return {f"{kind}.{row}": one for kind, left in self.drawn.items() for row, one in enumerate(left)}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Goes on from a ``state`` of as many rows."""
        self.drawn = {}
        for kind in {name.partition(".")[0] for name in state}:
            left = [state[f"{kind}.{row}"] for row in range(len(self.streams))]
            self.drawn[kind] = torch.stack(left) if len({len(one) for one in left}) == 1 else left

    def _take(self, kind: str, like: Tensor) -> Tensor:
        n, left = like[0].numel(), self.drawn.get(kind, like.new_empty(len(self.streams), 0))
        if isinstance(left, list) or len(set(self.counts)) > 1:
            return self._take_unevenly(kind, like, list(left))
        if left.shape[1] < n:
            left = _block(like, len(self.streams), max(n, self.block))
            for row, numbers in enumerate(left):
                self._draw(kind, row, numbers)
        numbers, self.drawn[kind] = left.split([n, left.shape[1] - n], 1)
        return numbers.view(like.shape)

    def _take_unevenly(self, kind: str, like: Tensor, left: list[Tensor]) -> Tensor:
        """Row by row; zeros where no number is needed."""
        n, most = like[0].numel(), max(self.counts, default=1)
        found = _block(like, len(left), n).zero_()
        for row, count in enumerate(self.counts or [1] * len(left)):
            size = n // most * count
            if len(left[row]) < size:
                left[row] = self._draw(kind, row, _block(like, max(size, self.block)))
            found[row, :size], left[row] = left[row].split([size, len(left[row]) - size])
        self.drawn[kind] = left
        return found.view(like.shape)

    def _draw(self, kind: str, row: int, numbers: Tensor) -> Tensor:
        if kind == "normal":
            return numbers.normal_(generator=self.streams[row].normal)
        return numbers.uniform_(generator=self.streams[row].uniform)


def _block(like: Tensor, *shape: int) -> Tensor:
    return like.new_empty(shape, dtype=torch.promote_types(like.dtype, torch.float32))


class Stack:
    """The replicas that train one stage together.

    ``module`` is their common code with stacked parameters; ``flat`` (S, P) holds all of them, the trained ones
    first and among these the decaying ones first: ``n_trained`` and ``n_decay`` columns. What the stage does
    not train is frozen and in evaluation mode. Parameters and buffers inside ``Alone`` have no replica dimension, so
    that a model with such a part forms a stack of one. ``buffers`` holds all of them, (S, *shape).
    """

    def __init__(self, models: Sequence[Method], stage: Stage, streams: Sequence[Streams]) -> None:
        first = models[0]
        self.module = copy.deepcopy(first)
        self.module.stage = stage.name
        self.stage = stage
        self.settings = [model.settings for model in models]
        shapes = {name: p.shape for name, p in first.named_parameters()}
        trained = [name for name in shapes if stage.trains is None or name.split(".")[0] in stage.trains]
        decay = [name for name in trained if name not in first.no_decay]
        self.trained = [*decay, *(name for name in trained if name in first.no_decay)]
        self.shapes = {name: shapes[name] for name in [*self.trained, *(n for n in shapes if n not in trained)]}
        self.n_decay = sum(shapes[name].numel() for name in decay)
        self.n_trained = sum(shapes[name].numel() for name in trained)
        self.flat = torch.stack([self._row(model) for model in models])
        self.buffers = {
            name: torch.stack([dict(model.named_buffers())[name] for model in models])
            for name, _ in first.named_buffers()
        }
        self.alone = {
            f"{name}.{inner}"
            for name, part in first.named_modules()
            if isinstance(part, Alone)
            for inner in (*dict(part.named_parameters()), *dict(part.named_buffers()))
        }
        if self.alone and len(models) > 1:
            raise ValueError(f"{len(models)} replicas cannot share a stack: their encoders train one at a time")
        self.noise = ReplicaNoise(streams)
        attach_noise(self.module, self.noise)
        self._point()

    def _row(self, model: Method) -> Tensor:
        parameters = dict(model.named_parameters())
        return torch.cat([parameters[name].detach().reshape(-1) for name in self.shapes])

    def views(self, matrix: Tensor) -> dict[str, Tensor]:
        """Columns of (S, P) or of its trained part as tensors by parameter name, (S, *shape)."""
        views, start = {}, 0
        for name, shape in self.shapes.items():
            if start == matrix.shape[-1]:
                break
            views[name] = matrix[..., start : start + shape.numel()].unflatten(-1, shape)
            start += shape.numel()
        return views

    def _point(self) -> None:
        """Makes the module's parameters views of ``flat``."""
        values = self.views(self.flat)
        for name, parameter in self.module.named_parameters():
            parameter.data = self._seen(name, values[name])
            parameter.requires_grad_(name in self.trained)
        for name, buffer in self.buffers.items():
            owner, _, leaf = name.rpartition(".")
            setattr(self.module.get_submodule(owner), leaf, self._seen(name, buffer))
        self.module.settings = stack_settings(self.settings, self.flat.dtype, self.flat.device)

    def _seen(self, name: str, value: Tensor) -> Tensor:
        """A stacked parameter or buffer as the module sees it."""
        return value[0] if name in self.alone else value

    def parameters(self) -> dict[str, Tensor]:
        """The trained parameters by name, in the order of the columns of ``flat``."""
        parameters = dict(self.module.named_parameters())
        return {name: parameters[name] for name in self.trained}

    def keep(self, rows: Sequence[int]) -> Tensor:
        """Drops every replica but those in ``rows``; returns the rows as an index tensor."""
        index = torch.tensor(rows, device=self.flat.device)
        self.flat = self.flat[index]
        self.buffers = {name: buffer[index] for name, buffer in self.buffers.items()}
        self.settings = [self.settings[row] for row in rows]
        self.noise.keep(rows)
        self._point()
        return index

    def write_back(self, row: Tensor, buffers: Mapping[str, Tensor], model: Method) -> None:
        """Copies one row (P,), and buffers (*shape), into a model of its own."""
        values = self.views(row)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.copy_(values[name])
            for name, buffer in model.named_buffers():
                buffer.copy_(buffers[name])

    def train_mode(self) -> None:
        """Training mode for what the stage trains, evaluation mode for the rest."""
        self.module.train()
        if self.stage.trains is not None:
            for name, child in self.module.named_children():
                child.train(name in self.stage.trains)
