"""What methods cost beside joint: counted by hand on small modalities, and measured in pairs."""

from __future__ import annotations

import pytest

from benchmarks import method_costs, speed
from benchmarks.methods import FIELD
from dmil.data import Splits, Task
from dmil.encoders import sources_of
from dmil.settings import Settings
from tests.made_problems import made_problem


def counted(name: str) -> int:
    return method_costs.n_parameters(name, sources_of(made_problem(2).train), Task(n_classes=3))


def test_heads_teachers_and_experts_are_counted() -> None:
    base, width, n_classes = counted("joint"), Settings().width, 3
    head = (width + 1) * n_classes
    joint_head = (2 * width + 1) * n_classes
    assert counted("joint_mlp") == base + (2 * width + 1) * width + head - joint_head
    assert counted("late_fusion") == base - joint_head + 2 * ((width + 1) * width + head)
    assert counted("multi_loss") == base + 2 * head
    assert counted("umt") > 2 * (base - joint_head)


def test_every_method_of_the_field_is_in_the_table_and_no_row_that_trains_nothing() -> None:
    names = method_costs.names_of(None)
    assert set(FIELD) < set(names)
    assert {"dmil", "dmil_pid", "joint"} < set(names)
    assert not {"constant", "ensemble", "label_shuffle", "unimodal"} & set(names)


def test_a_row_has_its_parameters_and_the_middle_of_its_paired_times(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    times = iter([3.0, 1.0, 2.0, 1.0, 9.0, 2.0])
    trained: list[str] = []

    def timed(work: object, device: str) -> float:
        trained.append(work.args[0].__name__)  # type: ignore[attr-defined]
        assert device == "cpu"
        return next(times)

    problem = made_problem(2)
    monkeypatch.setattr(method_costs, "seconds", timed)
    whole = speed.Problem(problem.train, problem.valid, problem.task, 1, "cpu")
    found = method_costs.time_ratios("mlb", whole, seeds=range(2), rounds=3)
    assert trained == ["Mlb", "Joint"] * 3
    assert found == [2.0, 3.0, 4.5]


def test_the_table_is_one_that_markdown_reads(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    problem = made_problem(3)
    splits = Splits(problem.train, problem.valid, problem.valid, problem.task, card=None)  # type: ignore[arg-type]
    monkeypatch.setattr(method_costs, "load_dataset", lambda _name: splits)
    assert method_costs.main(["--methods", "tfn,factorcl", "--rounds", "2", "--seeds", "2", "--epochs", "1"]) == 0
    out, err = capsys.readouterr()
    assert err == "left out on mosi: factorcl factorises two modalities, but here are 3\n"
    rows = [line.strip("| ").split(" | ") for line in out.splitlines() if line.startswith("|")]
    assert [row[0] for row in rows[2:]] == ["`tfn`"]
    _name, parameters, more, median, between = rows[2]
    assert float(more) > 1
    assert int(parameters.replace(",", "")) > 0
    low, high = map(float, between.split(" to "))
    assert 0 < low <= float(median) <= high


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ("--methods joint,ensemble", "--methods ensemble: allowed are joint, "),
        ("--rounds 0", "--rounds 0: must be 1 or more"),
        ("--dataset nowhere", "unknown dataset 'nowhere'"),
    ],
)
def test_bad_input_is_one_line(arguments: str, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert method_costs.main(arguments.split()) == 2
    out, err = capsys.readouterr()
    assert not out
    assert err.count("\n") == 1
    assert line in err


def test_a_training_that_fails_has_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    class Failed:
        status, error = "failed", "not finite"

    problem = made_problem(2)
    monkeypatch.setattr(speed, "fit", lambda *_args, **_options: [Failed()])
    whole = speed.Problem(problem.train, problem.valid, problem.task, 1, "cpu")
    with pytest.raises(RuntimeError, match="failed: not finite"):
        method_costs.time_ratios("joint", whole, seeds=range(1), rounds=1)
