"""The row `lsmi`: how it is planned, trained and recorded, and the theorem's terms of the rows beside it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from benchmarks.errors import UserError
from benchmarks.execute import estimate, evaluate, fit_specs
from benchmarks.methods import ESTIMATORS, METHODS, left_out, rows
from benchmarks.methods.lsmi import EstimatorSettings, Lsmi, fit_lsmi
from benchmarks.plan import Spec, resolve
from benchmarks.record import CHECKPOINT, PREDICTIONS
from benchmarks.suite import Suite
from dmil.data import Card, Split, Splits, Task
from dmil.encoders import Source
from dmil.interactions import lsmi
from dmil.interactions.training import Schedule
from dmil.seeds import generator
from dmil.train import predict

CARD = Card("toy", "", "", "", "", "", "", truth_names=("r", "s"))
IDENTITY = {"suite": "t", "protocol": "p"}


def made_split(part: str, n: int = 300, n_modalities: int = 2) -> Split:
    """Half redundant: both modalities show y in their first two columns; half XOR of their last two."""
    rng = generator("test_estimator_row", part)
    y, a, truth = (torch.randint(2, (n,), generator=rng) for _ in range(3))
    hidden = (a, a ^ y, a)
    inputs = {}
    for m in range(n_modalities):
        shown = torch.cat(
            [F.one_hot(y, 2) * (truth == 0).unsqueeze(1), F.one_hot(hidden[m], 2) * truth.unsqueeze(1)], 1
        )
        inputs[f"x{m + 1}"] = shown + 0.1 * torch.randn(n, 4, generator=rng)
    return Split(inputs, y, ids=tuple(f"{part}{i}" for i in range(n)), truth=truth)


def made_splits(n_modalities: int = 2) -> Splits:
    parts = {part: made_split(part, n_modalities=n_modalities) for part in ("train", "valid", "test")}
    return Splits(parts["train"], parts["valid"], parts["test"], Task(), CARD)


def specs_of(method: str, splits: Splits, **changes: object) -> list[Spec]:
    budget = {"epochs": 4, "patience": 4, "lr_patience": 4, "lr_factor": 0.5, "max_grad_norm": 1.0}
    values = {"methods": (method,), "seeds": 2, "budget": budget, "settings": {}}
    return resolve(Suite("t", "toy", **(values | changes)), splits, device="cpu")[1]  # type: ignore[arg-type]


def test_the_row_stands_last_and_is_no_method() -> None:
    assert [row.name for row in rows(["lsmi", "joint"], ("a", "b"))] == ["joint", "lsmi"]
    assert [row.is_estimator for row in rows(["lsmi", "joint"], ("a", "b"))] == [False, True]
    assert not set(METHODS) & set(ESTIMATORS)


def test_datasets_that_it_cannot_take_go_without_it(capsys: pytest.CaptureFixture[str]) -> None:
    three = made_splits(3)
    assert {spec.row.name for spec in specs_of("joint", three, methods=("joint", "lsmi"))} == {"joint"}
    assert capsys.readouterr().err == "left out on toy: lsmi compares two modalities, but here are 3\n"
    with pytest.raises(UserError, match="nothing to run on toy: lsmi compares two modalities, but here are 3"):
        specs_of("lsmi", three)
    two = {"a": 2, "b": 2}
    assert left_out(["lsmi"], two, Task("regression")) == {"lsmi": "lsmi needs classes, but the task is a regression"}
    assert left_out(["lsmi", "joint"], two, Task()) == {}
    image: dict[str, int | Source] = {"a": 2, "b": Source((3, 8, 8), "image", encoder="cnn")}
    assert left_out(["lsmi"], image, Task()) == {"lsmi": "lsmi compares features, but b is image"}


def test_a_run_holds_the_information_of_every_sample(tmp_path: Path) -> None:
    import pandas as pd
    from safetensors.torch import load_file

    splits, seen = made_splits(), []
    specs = specs_of("lsmi", splits, settings={"lsmi": {"lr": 1e-2}, "all": {"width": 32}})
    (stack,) = estimate(
        specs, splits.train, splits.valid, splits.task, device="cpu", on_epoch=lambda epoch, _: seen.append(epoch)
    )
    assert seen[-1] == 4
    assert seen == sorted(seen)
    records = [evaluate(fitted, splits, tmp_path / fitted.spec.key, **IDENTITY) for fitted in stack]
    assert [record.status for record in records] == ["finished"] * 2
    assert all(record.metrics["test/acc"] > 0.9 for record in records)
    assert records[0].metrics["train_seconds"] > 0
    table = pd.read_parquet(tmp_path / records[0].key / PREDICTIONS)
    assert list(table.columns[5:]) == ["prob_0", "prob_1", "info_r", "info_u1", "info_u2", "info_s"]
    test = table[table.split == "test"]
    means = test.groupby("truth")[["info_r", "info_s"]].mean()
    assert means.info_r["r"] > means.info_r["s"] + 0.2
    assert means.info_s["s"] > means.info_s["r"] + 0.2
    # The parts of a sample add up to log p(y | x1, x2) / p(y), by the joint discriminator.
    own = test[[f"prob_{k}" for k in (0, 1)]].to_numpy()[range(len(test)), test.target]
    prior = splits.train.target.bincount() / 300
    total = torch.tensor(own).log() - prior.log()[torch.tensor(test.target.to_numpy())]
    parts = torch.tensor(test[["info_r", "info_u1", "info_u2", "info_s"]].to_numpy()).sum(1)
    torch.testing.assert_close(parts, total, atol=1e-4, rtol=0)
    # What is stored is the model.
    other = Lsmi(EstimatorSettings(width=32), splits.train.dims, splits.task)
    other.load_state_dict(load_file(tmp_path / records[0].key / CHECKPOINT))
    assert torch.equal(predict(other, splits.test).logits, predict(stack[0].result.method, splits.test).logits)


def test_a_row_is_what_the_library_estimates() -> None:
    splits = made_splits()
    settings = EstimatorSettings(epochs=2, width=32, n_components=3)
    models = fit_lsmi(settings, splits.train, splits.task, seeds=[4, 9], epochs=60, device="cpu")
    schedule = Schedule(2, 32, step=1)
    whole = lsmi.LsmiSettings(3, 32, discriminators=schedule, densities=schedule)
    x1, x2 = splits.train.inputs.values()
    expected = lsmi.fit_lsmi(x1, x2, splits.train.target, 2, seeds=[9], settings=whole)
    x1, x2 = splits.test.inputs.values()
    terms = expected.estimate(x1, x2, splits.test.target).adjusted()
    found = models[1].information(splits.test)
    for name, term in terms.items():
        torch.testing.assert_close(found[f"info_{name}"], term[0], atol=1e-4, rtol=1e-4)


def test_what_cannot_be_estimated_is_a_failed_row(tmp_path: Path) -> None:
    splits = made_splits()
    specs = specs_of("lsmi", splits, settings={"lsmi": {"n_components": 9}})
    (stack,) = estimate(specs, splits.train, splits.valid, splits.task, device="cpu")
    record = evaluate(stack[0], splits, tmp_path / "run", **IDENTITY)
    assert record.status == "failed"
    assert record.error == "ValueError: `1 <= n_components <= 4` (the narrower modality) must hold, but got 9"
    with pytest.raises(ValueError, match="fit_lsmi trains its networks"):
        Lsmi(EstimatorSettings(), splits.train.dims, splits.task).prepare(splits.train)


@pytest.mark.parametrize("method", ["joint_mlp", "constant", "lsmi"])
def test_a_suite_that_asks_gets_the_terms_of_the_theorem(method: str, tmp_path: Path) -> None:
    splits = made_splits()
    for asked in (True, False):
        specs = specs_of(method, splits, theorem=asked, seeds=1, settings={"all": {"width": 32}})
        train = estimate if specs[0].row.is_estimator else fit_specs
        ((fitted,),) = train(specs, splits.train, splits.valid, splits.task, device="cpu")
        metrics = evaluate(fitted, splits, tmp_path / str(asked), **IDENTITY).metrics
        terms = {name.removeprefix("test/theorem_"): v for name, v in metrics.items() if "theorem" in name}
        if not asked or method != "joint_mlp":
            assert terms == {}
            continue
        assert terms["bound"] == pytest.approx(terms["i_zy_given_c"] - terms["h_c_given_z"] + terms["i_yc"])
        assert terms["i_yc"] == pytest.approx(0, abs=0.02)
        assert 0.1 < terms["i_zy_given_c"] < 0.7
        assert terms["bound"] < terms["i_zy"] + 0.05
