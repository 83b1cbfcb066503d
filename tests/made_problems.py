"""Small problems, and the plainest training loop there is: what ``dmil.fit`` must agree with."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from dmil.data import Split, Task
from dmil.method import LAST, PARTS, Method, Stage
from dmil.model import Dmil
from dmil.nn import Noise, attach_noise
from dmil.seeds import derive_seed, generator
from dmil.selection import Budget
from dmil.settings import Settings, override

NAMES = ("text", "audio", "video")


@dataclass(frozen=True)
class Problem:
    """Splits of a small task; every modality says something, none says all."""

    train: Split
    valid: Split
    task: Task

    def only(self, *modalities: str) -> Problem:
        parts = [Split({m: part.inputs[m] for m in modalities}, part.target) for part in (self.train, self.valid)]
        return Problem(parts[0], parts[1], self.task)


def made_problem(n_modalities: int = 2, *, n_classes: int = 3, is_regression: bool = False, n: int = 60) -> Problem:
    """n training and n validation rows in float64, modality m with 3 + m features."""
    rng = generator("made_problem", n_modalities, n_classes)
    parts = []
    for _ in range(2):
        shown = {name: torch.randn(n, 3 + m, generator=rng).double() for m, name in enumerate(NAMES[:n_modalities])}
        value = sum(x[:, 0] + 0.5 * x[:, 1].abs() for x in shown.values())
        value = value + 0.5 * torch.randn(n, generator=rng)
        edges = value.quantile(torch.arange(1, n_classes).double() / n_classes)
        parts.append(Split(shown, value if is_regression else torch.bucketize(value, edges)))
    task = Task("regression") if is_regression else Task(n_classes=n_classes)
    return Problem(parts[0], parts[1], task)


def xor_problem(n: int = 400) -> Problem:
    """The label is the product of two signs, one in each modality: neither alone says anything."""
    rng = generator("xor_problem")
    parts = []
    for _ in range(2):
        signs = torch.tensor([[-1, -1], [-1, 1], [1, -1], [1, 1]]).repeat(n // 4, 1)
        noise = 0.2 * torch.randn(2, n, 3, generator=rng)
        inputs = {f"x{m}": noise[m] + signs[:, m : m + 1] for m in range(2)}
        parts.append(Split(inputs, (signs.prod(1) > 0).long()))
    return Problem(parts[0], parts[1], Task())


def small_settings(kind: type[Method], **values: Any) -> Settings:
    """Few dimensions. The latent width is another than the width, so that one cannot stand in for the other."""
    sizes: dict[str, Any] = {"batch_size": 16, "width": 8}
    own = {"hidden": 12, "projection": 4, "critic": 8}
    sizes |= {name: small for name, small in own.items() if hasattr(kind.Settings, name)}
    if issubclass(kind, Dmil):
        sizes |= {"latent": 6, "initial_logvar": -8.0}
    return override(kind.Settings(), sizes | values)


def assert_close(mine: Mapping[str, Any], its: Mapping[str, Any], tolerance: float) -> None:
    """Two rows of a history with the same texts and, within an absolute tolerance, the same numbers."""
    assert mine.keys() == its.keys()
    for name, value in its.items():
        same = mine[name] == value if isinstance(value, str) else abs(mine[name] - value) <= tolerance
        assert same, f"{name}: {mine[name]!r}, expected {value!r}"


class PlainNoise(Noise):
    """One replica's numbers for a module without replica dimension: its own generators, in blocks."""

    def __init__(self, seed: int, block: int = 1 << 15) -> None:
        self.generators = {kind: generator(kind, seed) for kind in ("normal", "uniform")}
        self.block = block
        self.left: dict[str, Tensor] = {}

    def normal(self, like: Tensor) -> Tensor:
        return self._take("normal", like)

    def uniform(self, like: Tensor) -> Tensor:
        return self._take("uniform", like)

    def _take(self, kind: str, like: Tensor) -> Tensor:
        left = self.left.get(kind, like.new_empty(0))
        if len(left) < like.numel():
            left = like.new_empty(max(self.block, like.numel()))
            draw = torch.Tensor.normal_ if kind == "normal" else torch.Tensor.uniform_
            draw(left, generator=self.generators[kind])
        self.left[kind] = left[like.numel() :]
        return left[: like.numel()].reshape(like.shape)


@dataclass
class Plain:
    """One model trained the plain way."""

    method: Method
    history: list[dict[str, Any]] = field(default_factory=list)
    best_epoch: int = 0
    n_plateaus: int = 0
    n_clipped: int = 0
    stopped: list[str] = field(default_factory=list)


def plain_fit(kind: type[Method], problem: Problem, seed: int, settings: Settings, budget: Budget) -> Plain:
    """No stack, ``torch.optim.AdamW``, ``clip_grad_norm_``; float64."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed("init", seed))
        done = Plain(kind(settings, problem.train.dims, problem.task).double())
    noise, order = PlainNoise(seed), generator("order", seed)
    attach_noise(done.method, noise)
    epoch = 0
    for stage in done.method.stages(budget.epochs):
        noise.left = {}
        _plain_stage(done, problem, stage, order, budget, epoch)
        epoch += stage.epochs
    return done


def _plain_stage(
    done: Plain, problem: Problem, stage: Stage, order: torch.Generator, budget: Budget, before: int
) -> None:
    model, train = done.method, problem.train
    model.stage = stage.name
    learns = [name for name, _ in model.named_children() if stage.trains is None or name in stage.trains]
    named = [(n, p) for n, p in model.named_parameters() if stage.trains is None or n.split(".")[0] in learns]
    groups: list[dict[str, Any]] = [
        {"params": [p for n, p in named if n not in model.no_decay], "weight_decay": model.settings.weight_decay},
        {"params": [p for n, p in named if n in model.no_decay], "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW([g for g in groups if g["params"]], lr=model.settings.lr)
    best, state, waited = (-math.inf, -math.inf), copy.deepcopy(model.state_dict()), 0
    of_parts = [((-math.inf, -math.inf), state) for _ in model.judged_parts] if stage.keeps == PARTS else []
    for epoch in range(before + 1, before + stage.epochs + 1):
        model.train()
        for name, child in model.named_children():
            child.train(name in learns)
        total = 0.0
        for index in torch.randperm(len(train), generator=order).split(model.settings.batch_size):
            model.zero_grad()
            output = model({m: x[index] for m, x in train.inputs.items()})
            loss = model.loss(output, train.target[index], stage.name)
            loss.backward()
            norm = torch.nn.utils.clip_grad_norm_([p for _, p in named], budget.max_grad_norm)
            done.n_clipped += int(norm > budget.max_grad_norm)
            optimiser.step()
            total += loss.item() * len(index) / len(train)
        score, valid_loss = plain_validation(model, problem)
        done.history.append({"epoch": epoch, "stage": stage.name, "train/loss": total, "valid/loss": valid_loss})
        for k, judged in enumerate(plain_validation(model, problem, part) for part in range(len(of_parts))):
            if (judged[0], -judged[1]) > of_parts[k][0]:
                of_parts[k] = ((judged[0], -judged[1]), copy.deepcopy(model.state_dict()))
        waited += 1
        if stage.keeps == LAST or (score, -valid_loss) > best:
            best, state, waited = (score, -valid_loss), copy.deepcopy(model.state_dict()), 0
            done.best_epoch = epoch
        if waited and waited % budget.lr_patience == 0:
            done.n_plateaus += 1
            for group in optimiser.param_groups:
                group["lr"] *= budget.lr_factor
        if waited >= budget.patience:
            done.stopped.append(stage.name)
            break
    for names, (_, own) in zip(model.judged_parts, of_parts, strict=False):
        state |= {name: value for name, value in own.items() if any(name.startswith(start) for start in names)}
    model.load_state_dict(state)


def plain_validation(model: Method, problem: Problem, part: int | None = None) -> tuple[float, float]:
    """Score (accuracy, or minus the mean absolute error) and task loss on the validation split, of one part or all."""
    model.eval()
    with torch.no_grad():
        output = model(problem.valid.inputs)
    logits = output.logits if part is None else output.extra[PARTS][part]
    target = problem.valid.target
    if problem.task.kind == "regression":
        error = (logits[:, 0] - target).abs().mean().item()
        return -error, error
    loss = torch.nn.functional.cross_entropy(logits, target).item()
    return (logits.argmax(1) == target).double().mean().item(), loss
