"""Sweeps in the outbox: beside runs of the bench, sent by `make sync`, refused where damaged."""

from __future__ import annotations

from pathlib import Path

import pytest

import benchmarks.store
from benchmarks.__main__ import main
from benchmarks.outbox import Outbox
from benchmarks.tracking import Delivery, Tracking
from tests.made_runs import Pair, client_of, made_record, made_tracking, put, seeds
from tests.made_studies import made_population, made_study, put_study, runs_at


def test_bench_and_sweeps_share_an_outbox(pair: Pair, tmp_path: Path) -> None:
    tracking, outbox = pair
    plan = made_study()
    put_study(outbox, plan, made_population(plan, 0, scores=[0.5, 0.75]), made_population(plan, 1, scores=[0.5, 0.75]))
    put(outbox, made_record())
    assert [record.key for _, record in outbox.records()] == [made_record().key]
    assert outbox.find(plan.key) is None
    gone = Tracking(tmp_path / "away", "http://127.0.0.1:9")
    delivery = gone.deliver(outbox)
    assert (delivery.n_sent, delivery.n_left) == (0, 3), "a run and two populations"
    assert tracking.deliver(outbox) == Delivery(3, 0, None)
    assert len(seeds(client_of(tmp_path))) == 1
    assert [row.method for row in tracking.rows()] == ["joint"]


def test_sync_sends_sweeps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    made_tracking(tmp_path)
    monkeypatch.setattr(benchmarks.store, "RESULTS", tmp_path)
    plan = made_study()
    put_study(Outbox(tmp_path / "outbox"), plan, made_population(plan, scores=[0.5, 0.75]))
    assert main(["sync"]) == 0
    assert capsys.readouterr().out == "1 runs sent, 0 left\n"
    assert len(runs_at(tmp_path, "configuration")) == 2


def test_a_refused_population_does_not_hold_up_the_others(pair: Pair, tmp_path: Path) -> None:
    tracking, outbox = pair
    plan, unknown = made_study(), made_study("dmil")
    with outbox.stage() as folder:
        plan.save(folder)
        (folder / "population-x-00000.json").write_text('{"no": "population"}')
    put_study(outbox, None, made_population(unknown, scores=[0.5]))
    put_study(outbox, plan, made_population(plan, scores=[0.5]))
    delivery = tracking.deliver(outbox)
    assert (delivery.n_sent, delivery.n_left) == (1, 2)
    assert "population-x-00000.json was not written by this version" in str(delivery.error)
    outbox.remove(outbox.entries()[0])
    delivery = tracking.deliver(outbox)
    assert f"a population of study {unknown.key} came without its study.json" in str(delivery.error)
    put_study(outbox, unknown)
    tracking.deliver(outbox)
    assert tracking.deliver(outbox) == Delivery(1, 0, None)
    assert len(runs_at(tmp_path, "configuration")) == 2
