"""What long trainings need: batches from anywhere, small pieces, layers of others, going on after a kill."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmarks.execute import Fitted, fit_specs
from benchmarks.methods import METHODS
from benchmarks.plan import resolve
from benchmarks.resume import FileKeeper
from benchmarks.suite import Suite
from dmil.data import Card, Shared, Split, Splits
from dmil.encoders import ENCODERS, READS, Alone, Source
from dmil.feed import Feed
from dmil.seeds import generator
from dmil.selection import Budget
from dmil.train import FitResult, Replica, fit, predict
from tests.made_keeper import Memory
from tests.made_kinds import made_kinds
from tests.made_problems import made_problem, small_settings

BUDGET = Budget(epochs=7, patience=4)
CARD = Card("made", "made", "here", "none", "nobody", "by hand", "none")


class Foreign(nn.Module):
    """Layers that know no replicas, with running statistics and torch's own dropout."""

    def __init__(self, source: Source, width: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(source.shape[0])
        self.layers = nn.Sequential(nn.Linear(source.shape[0], width), nn.ReLU(), nn.Dropout(0.3))

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.layers(self.norm(x))
        return found


@pytest.fixture
def foreign(monkeypatch: pytest.MonkeyPatch) -> str:
    """Name of an encoder that cannot be stacked."""

    def build(source: Source, *, width: int, depth: int, dropout: float) -> nn.Module:
        return Alone(Foreign(source, width), len(source.shape))

    monkeypatch.setitem(ENCODERS, "foreign", build)
    monkeypatch.setitem(READS, "foreign", ("features",))
    return "foreign"


def trained(name: str = "joint_mlp", *, seeds: tuple[int, ...] = (0, 1), **more: Any) -> list[FitResult]:
    problem = made_problem(2)
    settings = small_settings(METHODS[name], lr=2e-2, dropout=0.2)
    given: dict[str, Any] = {"budget": BUDGET, "dtype": torch.float64}
    replicas = [Replica(seed, settings) for seed in seeds]
    return fit(METHODS[name], problem.train, problem.valid, problem.task, replicas=replicas, **given | more)


def assert_equal(one: FitResult, other: FitResult) -> None:
    assert (one.status, one.best_epoch, one.best) == (other.status, other.best_epoch, other.best)
    assert one.history == other.history
    for name, value in one.method.state_dict().items():
        assert torch.equal(value, other.method.state_dict()[name]), name


def test_layers_of_others_train_one_by_one_and_draw_from_their_replica_alone(foreign: str) -> None:
    encoders = {"text": {"name": foreign}}
    torch.manual_seed(1)
    together = trained(encoders=encoders, seeds=(0, 1, 2))
    torch.manual_seed(2)
    before = torch.get_rng_state()
    (alone,) = trained(encoders=encoders, seeds=(1,))
    assert torch.equal(torch.get_rng_state(), before)
    assert_equal(together[1], alone)
    assert together[0].history != together[1].history


def test_running_statistics_are_those_of_the_best_epoch(foreign: str) -> None:
    """The kept model scores on validation what its best epoch says, which later statistics would change."""
    problem = made_problem(2)
    for result in trained("dmil", encoders={"text": {"name": foreign}}, budget=Budget(epochs=12, patience=12)):
        assert 0 < result.best_epoch < len(result.history)
        accuracy = (predict(result.method, problem.valid).logits.argmax(-1) == problem.valid.target).double().mean()
        assert accuracy == pytest.approx(result.best["valid/acc"], abs=1e-12)
        (norm,) = (part for part in result.method.modules() if isinstance(part, nn.BatchNorm1d))
        assert norm.num_batches_tracked is not None
        n_steps = -(-len(problem.train) // 16)
        assert 0 < int(norm.num_batches_tracked) <= n_steps * result.best_epoch


def test_replicas_that_train_one_by_one_are_pruned_together(foreign: str) -> None:
    seen: list[tuple[int, list[int]]] = []

    def prune(epoch: int, stage: Any, selections: Any) -> list[int]:
        seen.append((epoch, sorted(selections)))
        return [0] if epoch == 2 else []

    results = trained(encoders={"text": {"name": foreign}}, prune=prune, budget=Budget(epochs=4, patience=4))
    assert seen == [(1, [0, 1]), (2, [0, 1]), (3, [1]), (4, [1])]
    assert [result.status for result in results] == ["pruned", "finished"]


def test_gradients_of_pieces_add_up_to_those_of_the_batch() -> None:
    settings = small_settings(METHODS["joint_mlp"], lr=2e-2, dropout=0.0)
    problem = made_kinds("image", "sequence")
    found = []
    for size in (0, 5, 1):
        (result,) = fit(
            METHODS["joint_mlp"],
            problem.train,
            problem.valid,
            problem.task,
            replicas=[Replica(0, settings)],
            budget=Budget(epochs=3, micro_batch=size),
            dtype=torch.float64,
        )
        found.append(result)
    for result in found[1:]:
        for name, value in result.method.state_dict().items():
            torch.testing.assert_close(value, found[0].method.state_dict()[name], rtol=0, atol=1e-9)


def test_mixed_precision_learns_and_keeps_its_parameters_whole() -> None:
    (whole,) = trained(seeds=(0,), dtype=torch.float32)
    (mixed,) = trained(seeds=(0,), dtype=torch.float32, budget=Budget(epochs=7, patience=4, precision="bfloat16"))
    assert {parameter.dtype for parameter in mixed.method.parameters()} == {torch.float32}
    assert mixed.history != whole.history
    assert mixed.best["valid/loss"] == pytest.approx(whole.best["valid/loss"], rel=0.1)


@pytest.mark.parametrize("name", ["epochs", "patience", "lr_patience", "lr_factor", "max_grad_norm"])
def test_impossible_budgets(name: str) -> None:
    values: dict[str, Any] = {name: 0}
    with pytest.raises(ValueError, match=f"`{name} >=? .` must hold, but got {name}=0"):
        Budget(**values)


@pytest.mark.parametrize("bad", [{"micro_batch": -1}, {"precision": "half"}])
def test_budgets_that_say_nothing(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"`micro_batch >= 0` must hold|precision must be float32 or bfloat16"):
        Budget(**bad)


def test_a_split_that_stays_where_it_is_gives_the_same_batches() -> None:
    split = made_kinds().train
    feeds = [Feed(split, "cpu", torch.float32, resident=resident) for resident in (True, False)]
    orders = feeds[0].orders([generator("a"), generator("b")])
    for mine, its in zip(feeds[0].batches(orders, 10), feeds[1].batches(orders, 10), strict=True):
        assert torch.equal(mine.index, its.index)
        assert torch.equal(mine.target, its.target)
        for name, x in mine.inputs.items():
            other = its.inputs[name]
            if isinstance(x, Shared):
                assert isinstance(other, Shared)
                assert torch.equal(x.index, other.index)
                x, other = x.values, other.values
            assert isinstance(other, Tensor)
            assert torch.equal(x, other)
            assert x.dtype == other.dtype
    for one, two in zip(feeds[0].blocks(), feeds[1].blocks(), strict=True):
        assert one.keys() == two.keys()


def test_samples_of_an_image_stand_together_in_an_order_drawn_anew() -> None:
    feed = Feed(made_kinds("image", "features").train, "cpu", torch.float64)
    (first,), (second,) = (feed.orders([generator("order", seed)]) for seed in range(2))
    rows = feed.split.rows["image"]
    assert first.sort().values.tolist() == list(range(36))
    assert not torch.equal(first, second)
    images = rows[first].tolist()
    assert sum(a != b for a, b in pairwise(images)) == 11
    (batch, *_) = feed.batches(first.unsqueeze(0), 9)
    shared = batch.inputs["image"]
    assert isinstance(shared, Shared)
    assert shared.values.shape == (1, 3, 3, 12, 10)
    assert torch.equal(shared.values[0][shared.index[0]], feed.split.expanded("image")[batch.index[0]])


@pytest.mark.parametrize(
    ("name", "encoder"), [("dmil", ""), ("dmil_pid", ""), ("label_shuffle", ""), ("umt", ""), ("dmil", "foreign")]
)
@pytest.mark.parametrize("stop_after", [1, 3, 4, 6])
def test_an_interrupted_training_goes_on_to_the_same_numbers(
    name: str, encoder: str, stop_after: int, foreign: str
) -> None:
    given: dict[str, Any] = {"encoders": {"text": {"name": foreign}}} if encoder else {}
    given["budget"] = Budget(epochs=12, patience=2)
    undisturbed = trained(name, **given)
    memory = Memory(stop_after)
    with pytest.raises(KeyboardInterrupt):
        trained(name, keeper=memory, **given)
    resumed = trained(name, keeper=Memory(state=memory.state), **given)
    for one, other in zip(undisturbed, resumed, strict=True):
        assert_equal(one, other)


def test_a_file_keeper_waits_and_writes_and_forgets(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert not FileKeeper(tmp_path, ["a"]).is_due()
    keeper = FileKeeper(tmp_path / "new", ["a", "b"], interval=0)
    assert keeper.is_due()
    assert keeper.load() is None
    keeper.save({"x": torch.arange(3)}, {"epoch": 2})
    tensors, record = FileKeeper(tmp_path / "new", ["a", "b"]).load() or ({}, {})
    assert (tensors["x"].tolist(), record) == ([0, 1, 2], {"epoch": 2})
    assert FileKeeper(tmp_path / "new", ["a"]).load() is None
    assert [path.name for path in (tmp_path / "new").iterdir()] == [keeper.path.name]
    keeper.path.write_bytes(b"no safetensors")
    assert keeper.load() is None
    assert "begins anew" in caplog.text
    keeper.remove()
    assert not keeper.path.exists()
    (tmp_path / "file").write_text("")
    blocked = FileKeeper(tmp_path / "file" / "below", ["a"], interval=0)
    blocked.save({}, {})
    assert not blocked.is_due()
    assert "a kill would lose it" in caplog.text


def test_a_killed_row_of_a_bench_goes_on_to_the_same_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FileKeeper, "is_due", lambda self: True)
    problem = made_problem(2)
    parts = [Split(part.inputs, part.target) for part in (problem.train, problem.valid, problem.valid)]
    splits = Splits(parts[0], parts[1], parts[2], problem.task, CARD)
    settings = {"all": {"width": 8, "batch_size": 16}}
    suite = Suite("mine", "made", ("dmil",), 2, {"epochs": 9, "patience": 2}, settings)
    specs = resolve(suite, splits, device="cpu")[1]

    def stop(epoch: int, replicas: Any) -> None:
        if epoch == 5:
            raise KeyboardInterrupt

    def bench(folder: Path, on_epoch: Any = None) -> list[Fitted]:
        found: list[Fitted] = []
        for stack in fit_specs(
            specs, parts[0], parts[1], splits.task, device="cpu", on_epoch=on_epoch, unfinished=folder
        ):
            assert folder.is_dir()
            found += stack
        assert not list(folder.iterdir())
        return found

    undisturbed = bench(tmp_path / "a")
    with pytest.raises(KeyboardInterrupt):
        bench(tmp_path / "b", stop)
    assert len(list((tmp_path / "b").iterdir())) == 1
    for one, other in zip(undisturbed, bench(tmp_path / "b"), strict=True):
        assert_equal(one.result, other.result)


def test_words_that_training_lacks_are_refused() -> None:
    problem = made_kinds("tokens", "features")
    words = problem.valid.inputs["tokens"].clone()
    words[0, 0] = 99
    valid = Split({**problem.valid.inputs, "tokens": words}, problem.valid.target)
    with pytest.raises(ValueError, match="validation data has words of 'tokens' that are not in training data"):
        fit(METHODS["joint"], problem.train, valid, problem.task)
