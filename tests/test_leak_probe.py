"""The label-leak probe: it sounds where features know labels of training data, and is silent elsewhere."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import leak_probe, registry
from benchmarks.audit import alarms, audit, audited
from benchmarks.checks import ALARM, PASS, UNKNOWN, is_far_above
from dmil.data import Split, Splits, Task
from tests.test_audit import CARD, checks, knows_what_is_not_test, made_splits, with_parts


@pytest.mark.parametrize("has_groups", [True, False])
def test_features_made_from_labels_sound_the_alarm(*, has_groups: bool) -> None:
    splits = made_splits(knows_what_is_not_test, has_groups=has_groups)
    probes = {probe.modality: probe for probe in leak_probe.probe(splits)}
    assert probes["other"].inside > 0.95
    assert probes["other"].test == pytest.approx(0.5, abs=0.15)
    assert [name for name, probe in probes.items() if probe.is_alarm] == ["other"]
    assert probes["honest"].inside == pytest.approx(probes["honest"].test, abs=0.08)
    check = checks(splits)["Label leak"]
    assert check["verdict"] == ALARM
    assert "honest" not in check["text"]
    assert alarms(audit(splits)) == [check["text"]]


def test_samples_of_one_group_are_never_on_both_sides() -> None:
    """Features that name the group tell its label to whoever has seen it; only by group is this not taken for skill."""
    rng = torch.Generator().manual_seed(1)
    n, n_groups = 400, 40
    target = torch.randint(2, (n_groups,), generator=rng).repeat_interleave(n // n_groups)
    names = torch.eye(n_groups).repeat_interleave(n // n_groups, 0)
    groups = tuple(f"g{i // 10:02d}" for i in range(n))
    test = Split({"x": torch.randn(60, n_groups, generator=rng)}, torch.arange(60) % 2)
    splits = Splits(
        Split({"x": names[:300]}, target[:300], groups=groups[:300]),
        Split({"x": names[300:]}, target[300:], groups=groups[300:]),
        test,
        Task(),
        CARD,
    )
    (by_group,) = leak_probe.probe(splits)
    alone = replace(splits, train=replace(splits.train, groups=()), valid=replace(splits.valid, groups=()))
    (by_sample,) = leak_probe.probe(alone)
    assert by_group.inside < 0.7
    assert by_sample.inside > 0.95


def test_noise_alone_is_no_alarm() -> None:
    assert not is_far_above(0.70, 0.61, 0.0)
    assert not is_far_above(0.80, 0.60, 0.06)
    assert is_far_above(0.80, 0.60, 0.04)
    assert not is_far_above(0.52, 0.91, 0.01)


def test_standard_errors_by_hand() -> None:
    hits = np.array([True, True, True, True, False, False, False, False])
    assert leak_probe.standard_error(hits, None) == pytest.approx((0.25 / 8) ** 0.5)
    # Two groups, each all right or all wrong: sums +2 and -2; sqrt(2 / 1 * 8) / 8.
    assert leak_probe.standard_error(hits, np.repeat([0, 1], 4)) == pytest.approx(0.5)
    # Groups that are alike say less than samples do: the larger error counts.
    assert leak_probe.standard_error(hits, np.tile([0, 1], 4)) == pytest.approx((0.25 / 8) ** 0.5)


def test_what_cannot_be_probed_says_why() -> None:
    splits = made_splits()
    one_group = {part: replace(s, groups=("g",) * len(s)) for part, s in splits.parts().items()}
    one_class = {part: replace(s, target=0 * s.target) for part, s in splits.parts().items()}
    for broken, why in [
        (replace(splits, task=Task("regression")), "the task is a regression"),
        (with_parts(splits, one_group), "training and validation hold a single group"),
        (with_parts(splits, one_class), "one class only"),
    ]:
        assert why in leak_probe.why_not(broken)
    nan = replace(splits.test, inputs=splits.test.inputs | {"other": splits.test.inputs["other"] * float("nan")})
    assert leak_probe.why_not(replace(splits, test=nan)) == "features are not finite"
    found = checks(with_parts(splits, one_group))["Label leak"]
    assert (found["verdict"], found["text"]) == (UNKNOWN, "Not probed: training and validation hold a single group.")


def test_fits_that_were_stopped_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leak_probe, "N_ITERATIONS", 1)
    assert [probe.n_unconverged for probe in leak_probe.probe(made_splits())] == [6, 6]


def test_a_large_dataset_is_probed_on_a_fixed_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leak_probe, "N_MOST", 100)
    first, second = (leak_probe.known_part(made_splits()) for _ in range(2))
    assert len(first.rows) == len(first.target) == 100
    assert np.array_equal(first.rows, second.rows)
    assert first.groups is not None
    assert leak_probe.probe(made_splits()) == leak_probe.probe(made_splits())


EXPECTED = {
    "mosi": {"text": (0.787, 0.79), "audio": (0.50, 0.55)},
    "mosi-acl2017": {"text": (0.98, 0.76), "video": (0.91, 0.52), "audio": (0.50, 0.55)},
    "utd_mhad": {"accelerometer": (0.708, 0.716), "gyroscope": (0.685, 0.733), "skeleton": (0.780, 0.791)},
}


def real(name: str, data_root: Path) -> dict[str, Any]:
    if missing := registry.status(name, root=data_root).missing:
        pytest.skip(f"{name}: {', '.join(missing)} not below {data_root}")
    splits = registry.load_dataset(name)
    return audited(name, splits, splits.checksum())


@pytest.mark.parametrize("name", EXPECTED)
def test_real_features_as_measured_before(name: str, data_root: Path) -> None:
    """Numbers of the data folder's notes, measured before this suite existed, by other settings of the same model."""
    found = {probe["modality"]: probe for probe in real(name, data_root)["probe"]}
    assert set(found) == set(EXPECTED[name])
    for modality, (inside, test) in EXPECTED[name].items():
        assert found[modality]["inside"] == pytest.approx(inside, abs=0.04), modality
        assert found[modality]["test"] == pytest.approx(test, abs=0.04), modality
        assert found[modality]["n_unconverged"] == 0


QUICK = (*EXPECTED, "digits", "interactions-mixed")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name not in QUICK)) for name in registry.names()]
)
def test_the_alarm_sounds_where_labels_leaked_and_nowhere_else(name: str, data_root: Path) -> None:
    found = real(name, data_root)
    leaks = {probe["modality"] for probe in found["probe"] if probe["is_alarm"]}
    assert leaks == ({"text", "video"} if name == "mosi-acl2017" else set())
    others = {check["name"]: check["verdict"] for check in found["checks"] if check["name"] != "Label leak"}
    assert ALARM not in others.values(), others
    if not name.startswith("interactions"):
        assert others["Preprocessing"] == PASS
