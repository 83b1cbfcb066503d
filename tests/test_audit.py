"""The audit of prepared data: shared samples, preprocessing, and features that know the labels."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks import audit as audits
from benchmarks import audit_columns
from benchmarks.__main__ import main
from benchmarks.audit import alarms, audit, audited, summary
from benchmarks.checks import ALARM, PASS, UNKNOWN
from benchmarks.run import Options, make_benches
from benchmarks.tracking import Tracking
from dmil.data import Card, Split, Splits, Task
from reports.table import build_tables
from tests.made_runs import made_tracking

CARD = Card("toy", "Toy", "made", "none", "nobody", "by hand", "standardised on the training rows")
SIZES = {"train": 240, "valid": 60, "test": 100}
N_GROUPS = {"train": 12, "valid": 3, "test": 5}


def made_splits(
    feature: Callable[[str, Tensor, torch.Generator], Tensor] | None = None, *, has_groups: bool = True
) -> Splits:
    """Two classes. honest: its first column knows the class in every split; other: by ``feature(split, target, rng)``,
    else noise. Both standardised on the training rows. Groups of 20 samples."""
    rng = torch.Generator().manual_seed(0)
    targets, inputs = {}, {}
    for part, n in SIZES.items():
        targets[part] = torch.arange(n) % 2
        honest = torch.randn(n, 4, generator=rng)
        honest[:, 0] += 4 * targets[part]
        other = torch.randn(n, 3, generator=rng) if feature is None else feature(part, targets[part], rng)
        inputs[part] = {"honest": honest, "other": other}
    moments = {m: (x.mean(0), x.std(0, correction=0)) for m, x in inputs["train"].items()}
    parts = {
        part: Split(
            {m: (x - moments[m][0]) / moments[m][1] for m, x in inputs[part].items()},
            targets[part],
            ids=tuple(f"{part}-{i}" for i in range(n)),
            groups=tuple(f"{part} {i // 20}" for i in range(n)) if has_groups else (),
        )
        for part, n in SIZES.items()
    }
    return Splits(parts["train"], parts["valid"], parts["test"], Task(class_names=("no", "yes")), CARD)


def with_parts(splits: Splits, parts: Mapping[str, Split]) -> Splits:
    """The same dataset with other samples."""
    return Splits(parts["train"], parts["valid"], parts["test"], splits.task, splits.card)


def knows_what_is_not_test(part: str, target: Tensor, rng: torch.Generator) -> Tensor:
    """Made from the labels of training and validation data; on test it is noise."""
    x = torch.randn(len(target), 3, generator=rng)
    return x if part == "test" else x + 3 * target.unsqueeze(1)


def checks(splits: Splits) -> dict[str, dict[str, str]]:
    return {check["name"]: check for check in audit(splits)["checks"]}


def verdicts(splits: Splits) -> dict[str, str]:
    return {name: check["verdict"] for name, check in checks(splits).items()}


def test_clean_data_pass_every_check() -> None:
    splits = made_splits()
    assert set(verdicts(splits).values()) == {PASS}
    found = audit(splits)
    assert found["splits"] == {
        "train": {"n": 240, "n_groups": 12, "class_counts": [120, 120]},
        "valid": {"n": 60, "n_groups": 3, "class_counts": [30, 30]},
        "test": {"n": 100, "n_groups": 5, "class_counts": [50, 50]},
    }
    assert found["class_names"] == ["no", "yes"]
    assert set(found["repeats"]) == {"valid in train", "test in train", "test in valid"}
    assert all(not any(pair.values()) for pair in found["repeats"].values())
    assert alarms(found) == []
    assert json.loads(json.dumps(found)) == found


def test_shared_ids_are_named() -> None:
    splits = made_splits()
    test = replace(splits.test, ids=("train-3", "valid-1", *splits.test.ids[2:]))
    found = checks(replace(splits, test=test))["Sample ids"]
    assert found["verdict"] == ALARM
    assert "1 in train and test (train-3); 1 in valid and test (valid-1)" in found["text"]


def test_an_id_twice_in_one_split_is_named() -> None:
    splits = made_splits()
    train = replace(splits.train, ids=("train-1", *splits.train.ids[1:]))
    assert "some twice in train" in checks(replace(splits, train=train))["Sample ids"]["text"]


def test_shared_groups_are_counted_and_some_named() -> None:
    splits = made_splits()
    groups = tuple(name.replace("valid", "train") for name in splits.valid.groups)
    found = checks(replace(splits, valid=replace(splits.valid, groups=groups)))["Groups"]
    assert found["verdict"] == ALARM
    assert "3 in train and valid (train 0, train 1, train 2)" in found["text"]


def test_without_groups_the_rule_of_the_card_is_stated_as_such() -> None:
    found = checks(made_splits(has_groups=False))
    assert found["Groups"]["verdict"] == UNKNOWN
    assert "Its card states how it was split: by hand." in found["Groups"]["text"]
    assert "cross-validated by sample" in found["Label leak"]["text"]


def test_duplicates_are_counted_over_all_modalities_and_each() -> None:
    splits = made_splits()
    honest, other = splits.test.inputs["honest"].clone(), splits.test.inputs["other"].clone()
    honest[:3], other[:2] = splits.train.inputs["honest"][5:8], splits.train.inputs["other"][5:7]
    other[9] = splits.valid.inputs["other"][0]
    copied = replace(splits, test=replace(splits.test, inputs={"honest": honest, "other": other}))
    found = audit(copied)
    assert found["repeats"]["test in train"] == {"all": 2, "honest": 3, "other": 2}
    assert found["repeats"]["test in valid"] == {"all": 0, "honest": 0, "other": 1}
    check = checks(copied)["Duplicates"]
    assert check["verdict"] == ALARM
    assert "2 of 100 samples (test in train)" in check["text"]


def test_a_copy_in_one_modality_and_rows_of_zeros_are_no_alarm() -> None:
    splits = made_splits()
    parts = {}
    for part, split in splits.parts().items():
        inputs = {m: x.clone() for m, x in split.inputs.items()}
        inputs["honest"][0] = inputs["other"][0] = 0.0
        inputs["other"][1] = -0.0
        parts[part] = replace(split, inputs=inputs)
    parts["test"].inputs["other"][5] = parts["train"].inputs["other"][7]
    check = checks(with_parts(splits, parts))["Duplicates"]
    assert check["verdict"] == PASS
    assert check["text"].endswith("In one modality alone: other 1 (test in train).")


@pytest.mark.parametrize(
    ("rows", "verdict", "text"),
    [
        (("train",), PASS, "Measured: columns have mean 0"),
        (("train", "valid"), ALARM, "more than the training rows: honest over train and valid."),
        (("train", "valid", "test"), ALARM, "more than the training rows: honest over all splits."),
        ((), UNKNOWN, "Columns of honest do not show on which rows"),
    ],
)
def test_the_rows_of_a_standardisation_are_read_off_the_columns(rows: tuple[str, ...], verdict: str, text: str) -> None:
    splits = made_splits()
    raw = {part: 3 * split.inputs["honest"] + 1 for part, split in splits.parts().items()}
    known = torch.cat([raw[part] for part in rows]) if rows else torch.tensor([[0.0], [4.0]])
    scaled = {part: (x - known.mean(0)) / known.std(0, correction=0) for part, x in raw.items()}
    parts = {part: replace(s, inputs=s.inputs | {"honest": scaled[part]}) for part, s in splits.parts().items()}
    found = checks(with_parts(splits, parts))["Preprocessing"]
    assert found["verdict"] == verdict
    assert text in found["text"]


def test_clipped_and_constant_columns_do_not_blur_the_standardisation() -> None:
    splits = made_splits()
    parts = {}
    for part, split in splits.parts().items():
        x = torch.cat([split.inputs["honest"], torch.zeros(len(split), 1)], 1)
        x[0, 1] = 5.0  # a heavy tail, clipped: its mean is no longer 0
        parts[part] = replace(split, inputs=split.inputs | {"honest": x})
    found = audit(with_parts(splits, parts))
    assert found["scaling"]["honest"]["train"] < 1e-5
    assert found["columns"]["honest"] == {"n": 5, "n_constant": 1, "n_nearly": 0}


def test_nearly_constant_columns_are_counted() -> None:
    x = np.zeros((1000, 3))
    x[:, 0] = np.arange(1000)
    x[0, 1] = 1.0
    assert audit_columns.counts(x) == {"n": 3, "n_constant": 1, "n_nearly": 1}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DMIL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def stored(cache: Path) -> Path:
    (path,) = (cache / "digits").glob("audit-*.json")
    return path


def test_an_audit_is_made_once_and_again_for_other_data(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    splits = made_splits()
    first = audited("digits", splits, "c0ffee")
    assert capsys.readouterr().err == "auditing digits (once; what it finds is kept)\n"
    path = stored(cache)
    monkeypatch.setattr(audits, "audit", lambda _: pytest.fail("made again"))
    assert audited("digits", splits, "c0ffee") == first
    assert capsys.readouterr().err == ""
    with pytest.raises(pytest.fail.Exception, match="made again"):
        audited("digits", splits, "other data")
    assert list(cache.rglob("*")) == [cache / "digits", path]


@pytest.mark.parametrize("damage", ["", "{", "[]", "{}"])
def test_a_damaged_audit_is_made_again(cache: Path, damage: str) -> None:
    first = audited("digits", made_splits(), "c0ffee")
    whole = stored(cache).read_text()
    stored(cache).write_text(damage)
    assert audited("digits", made_splits(), "c0ffee") == first
    assert stored(cache).read_text() == whole


def test_a_cache_that_cannot_be_written_costs_a_line(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cache.write_text("a file")
    assert audited("digits", made_splits(), "c0ffee")["splits"]["test"]["n"] == 100
    assert "the audit of digits cannot be kept at" in capsys.readouterr().err


def test_a_summary_names_every_check() -> None:
    assert summary(audit(made_splits())) == (
        "Sample ids: pass; Groups: pass; Duplicates: pass; Preprocessing: pass; Label leak: pass"
    )


def test_data_prints_the_audit_in_short(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "--dataset", "digits"]) == 0
    printed = capsys.readouterr().out
    assert "audit: Sample ids: pass; Groups: not known; Duplicates: pass; Preprocessing:" in printed
    assert "Label leak: pass" in printed
    assert "alarm:" not in printed


def test_a_bench_sends_the_audit_with_its_plan_and_warns_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = audit(made_splits(lambda part, target, rng: target.unsqueeze(1) * (part != "test") + torch.zeros(1, 3)))
    assert len(alarms(found)) == 1
    monkeypatch.setattr(audits, "audited", lambda *_: found)
    made_tracking(tmp_path)
    (bench,) = make_benches(Options("digits", methods=("constant",), seeds=1, device="cpu"), tmp_path / "results")
    bench.go()
    assert bench.delivery_error is None
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "audit" in line]
    assert line.startswith("warning: audit of digits: A linear model knows the labels inside")
    (table,) = build_tables(Tracking(tmp_path / "results"))
    assert table.audit == found
