"""Encoders whose layers know no replicas: trained one by one, kept at the best epoch with their running statistics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmarks.backbones import BACKBONES, READS
from benchmarks.encoders import sources
from benchmarks.methods import METHODS
from benchmarks.methods.joint import Joint
from dmil import encoders
from dmil.data import Split, Task
from dmil.encoders import FEATURES, Alone, Source, sources_of
from dmil.method import Method
from dmil.model import Dmil
from dmil.seeds import generator, initialising
from dmil.selection import Budget
from dmil.train import FitResult, Replica, fit, predict
from tests.made_problems import made_problem, small_settings

PROBLEM = made_problem()
CHOICE: dict[str, dict[str, Any]] = {name: {"name": "normed"} for name in PROBLEM.train.inputs}
BATCHES = -(-len(PROBLEM.train) // 16)


def normed(source: Source, *, width: int, depth: int, dropout: float) -> nn.Module:
    """Layers of torch alone: batch statistics that change in place, and dropout that draws from global generators."""
    layers = [nn.Linear(source.shape[0], 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(dropout), nn.Linear(8, width)]
    return Alone(nn.Sequential(*layers), 1)


@pytest.fixture(autouse=True)
def _known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(encoders.ENCODERS, "normed", normed)
    monkeypatch.setitem(encoders.READS, "normed", (FEATURES,))
    for name, builder in BACKBONES.items():
        monkeypatch.setitem(encoders.ENCODERS, name, builder)
        monkeypatch.setitem(encoders.READS, name, READS[name])


def trained(kind: type[Method], seeds: list[int], *, epochs: int = 6, **values: Any) -> list[FitResult]:
    """In float64, without early stop."""
    replicas = [Replica(seed, small_settings(kind, **values)) for seed in seeds]
    budget = Budget(epochs=epochs, patience=epochs)
    train, valid, task = PROBLEM.train, PROBLEM.valid, PROBLEM.task
    return fit(kind, train, valid, task, encoders=CHOICE, replicas=replicas, budget=budget, dtype=torch.float64)


def state_of(result: FitResult) -> dict[str, Tensor]:
    assert result.status == "finished", result.error
    return result.method.state_dict()


def assert_same(mine: Mapping[str, Tensor], its: Mapping[str, Tensor]) -> None:
    assert mine.keys() == its.keys()
    wrong = [name for name in its if not torch.equal(mine[name], its[name])]
    assert wrong == []


def n_batches_seen(result: FitResult) -> set[int]:
    return {int(x) for name, x in state_of(result).items() if name.endswith("num_batches_tracked")}


def test_running_statistics_are_those_of_the_best_epoch() -> None:
    (whole,) = trained(Joint, [3], epochs=8, lr=0.03, dropout=0.3)
    best = whole.best_epoch
    assert 1 < best < 8, "this problem should be at its best in between"
    (short,) = trained(Joint, [3], epochs=best, lr=0.03, dropout=0.3)
    assert short.best_epoch == best
    assert n_batches_seen(whole) == {best * BATCHES}
    assert_same(state_of(whole), state_of(short))
    logits = predict(whole.method, PROBLEM.valid).logits
    assert (logits.argmax(-1) == PROBLEM.valid.target).double().mean().item() == whole.best["valid/acc"]


def test_a_replica_is_what_it_is_without_its_neighbours() -> None:
    together = trained(Joint, [0, 1], dropout=0.3)
    torch.manual_seed(99)
    before = torch.get_rng_state()
    alone = [trained(Joint, [seed], dropout=0.3)[0] for seed in (0, 1)]
    assert torch.equal(torch.get_rng_state(), before)
    for mine, its in zip(together, alone, strict=True):
        assert_same(state_of(mine), state_of(its))
        assert mine.history == its.history
    first, second = (state_of(result) for result in together)
    assert not torch.equal(first["encoders.each.0.inner.0.weight"], second["encoders.each.0.inner.0.weight"])


def test_statistics_rest_while_a_stage_does_not_train_the_encoders() -> None:
    stages = {"intra_epochs": 2, "decomposition_epochs": 2}
    (result,) = trained(Dmil, [0], epochs=6, **stages)
    names = [entry["stage"] for entry in result.history]
    assert names == ["intra"] * 2 + ["decomposition"] * 2 + ["joint"] * 2
    first = max(range(1, 3), key=lambda epoch: _rank(result, epoch))
    assert n_batches_seen(result) == {(first + result.best_epoch - 4) * BATCHES}


def _rank(result: FitResult, epoch: int) -> tuple[float, float]:
    entry = result.history[epoch - 1]
    return entry["valid/acc"], -entry["valid/loss"]


def test_one_that_fails_leaves_the_others_alone() -> None:
    good = Replica(0, small_settings(Joint, dropout=0.0))
    bad = replace(good, settings=small_settings(Joint, dropout=0.0, lr=1e300))
    train, valid, task = PROBLEM.train, PROBLEM.valid, PROBLEM.task
    budget = Budget(epochs=3)
    common: dict[str, Any] = {"encoders": CHOICE, "budget": budget, "dtype": torch.float64}
    both = fit(Joint, train, valid, task, replicas=[bad, good], **common)
    (single,) = fit(Joint, train, valid, task, replicas=[good], **common)
    assert [result.status for result in both] == ["failed", "finished"]
    assert_same(state_of(both[1]), state_of(single))


def test_fit_is_a_plain_loop() -> None:
    """torch's own optimiser, clipping and modules, on the batches that ``fit`` says it uses; no dropout."""
    epochs = 4
    (result,) = trained(Joint, [5], epochs=epochs, dropout=0.0, weight_decay=0.1)
    settings, order = small_settings(Joint, dropout=0.0, weight_decay=0.1), generator("order", 5)
    with initialising("init", 5):
        model = Joint(settings, sources(PROBLEM.train, CHOICE), PROBLEM.task).double()
    optimiser = torch.optim.AdamW(model.parameters(), lr=settings.lr, weight_decay=settings.weight_decay)
    found = []
    for _ in range(epochs):
        model.train()
        index = torch.randperm(len(PROBLEM.train), generator=order)
        torch.randint(2**62, (), generator=order)  # for layers that draw from the global generator
        for rows in index.split(settings.batch_size):
            output = model({name: x[rows] for name, x in PROBLEM.train.inputs.items()})
            loss = nn.functional.cross_entropy(output.logits, PROBLEM.train.target[rows])
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
        model.eval()
        with torch.no_grad():
            logits = model(PROBLEM.valid.inputs).logits
        found.append(nn.functional.cross_entropy(logits, PROBLEM.valid.target).item())
    assert [entry["valid/loss"] for entry in result.history] == pytest.approx(found, abs=1e-9)


@pytest.fixture(scope="module")
def media() -> tuple[Split, Split]:
    """Small pictures, clips and texts in MiniLM's numbers; the label is written into each."""
    rng = generator("media")
    parts = []
    for n in (20, 12):
        target = torch.arange(n) % 2
        picture = torch.rand(n, 1, 10, 9, generator=rng) / 2 + target.view(-1, 1, 1, 1) / 2
        clip = torch.randint(100, (n, 2, 3, 8, 8), generator=rng) + 100 * target.view(-1, 1, 1, 1, 1)
        text = torch.tensor([[101, 2003, 2204, 102, 0], [101, 2003, 2025, 2204, 102]])[target]
        parts.append(Split({"picture": picture, "clip": clip.to(torch.uint8), "text": text}, target))
    return parts[0], parts[1]


@pytest.mark.slow
@pytest.mark.parametrize("kind", [kind for name, kind in METHODS.items() if name not in ("unimodal", "ensemble")])
def test_every_method_trains_on_every_backbone(kind: type[Method], media: tuple[Split, Split], data_root: Path) -> None:
    if not import_module("benchmarks.datasets._minilm").WEIGHTS.is_present(data_root):
        pytest.skip("the weights of MiniLM are missing: `make data DATASET=mosi` fetches them")
    choice = {"picture": {"name": "resnet18"}, "clip": {"name": "vit"}, "text": {"name": "minilm"}}
    if kind.unfit(sources_of(media[0], choice), Task()):
        del choice["clip"]
        media = (media[0].only(choice), media[1].only(choice))
    budget = Budget(epochs=3)
    replicas = [Replica(seed, small_settings(kind)) for seed in (0, 1)]
    results = fit(kind, *media, Task(), encoders=choice, replicas=replicas, budget=budget)
    for result in results:
        assert result.status == "finished", result.error
        assert predict(result.method, media[1]).logits.shape == (12, 2)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("modality", "options"),
    [
        ("picture", {"name": "resnet18"}),
        ("picture", {"name": "vit"}),
        ("clip", {"name": "resnet18", "stem": "large"}),
        ("text", {"name": "minilm"}),
        ("text", {"name": "minilm", "frozen": False}),
    ],
)
def test_one_backbone_by_itself(
    modality: str, options: dict[str, Any], precision: str, media: tuple[Split, Split], data_root: Path
) -> None:
    if modality == "text" and not import_module("benchmarks.datasets._minilm").WEIGHTS.is_present(data_root):
        pytest.skip("the weights of MiniLM are missing: `make data DATASET=mosi` fetches them")
    kind = METHODS["unimodal"]
    train, valid = (split.only([modality]) for split in media)
    if options.get("stem") == "large":
        train, valid = (
            replace(split, inputs={"clip": split.inputs["clip"].repeat(1, 1, 1, 5, 5)}) for split in (train, valid)
        )
    budget = Budget(epochs=3, precision=precision)
    runs = [
        fit(
            kind,
            train,
            valid,
            Task(),
            encoders={modality: options},
            replicas=[Replica(seed, small_settings(kind, lr=1e-4)) for seed in seeds],
            budget=budget,
        )
        for seeds in ([0, 1], [1])
    ]
    (first, second), (again,) = runs
    assert first.status == second.status == "finished", (first.error, second.error)
    assert first.history != second.history
    if options != {"name": "minilm"}:
        assert_same(state_of(second), state_of(again))
