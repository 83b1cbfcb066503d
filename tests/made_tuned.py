"""Tuned settings as a sweep would leave them."""

from __future__ import annotations

from typing import Any

from benchmarks.methods import TABLE
from benchmarks.registry import load_dataset
from benchmarks.tuned import Tuned
from dmil.method import Method


def base_of(method: str) -> type[Method]:
    return TABLE["unimodal" if method.startswith("unimodal_") else method]


def made_tuned(method: str = "joint", dataset: str = "digits", **settings: Any) -> Tuned:
    """A file's content; settings: other than the defaults."""
    return Tuned(
        dataset=dataset,
        method=method,
        settings=base_of(method).Settings().to_dict() | settings,
        sweep="5feed",
        suite="leaderboard",
        budget={"epochs": 60, "patience": 20, "lr_patience": 8, "lr_factor": 0.5, "max_grad_norm": 1.0},
        encoders={"audio": {"name": "mlp"}, "image": {"name": "mlp"}},
        overrides=("joint.lr=1e-3",),
        n_configurations=64,
        seeds=(1000, 1001),
        n_epochs=2345,
        valid_score=0.8125,
        valid_loss=1e-5,
        default_score=0.8,
        revision=base_of(method).revision,
        code="c0de",
        data_checksum=load_dataset(dataset).checksum(),
        torch="2.13.0",
        device="cpu",
        tuned_at="2026-01-02T03:04:05+00:00",
        command="python -m sweeps run --dataset digits --set 'joint.lr=1e-3'",
    )
