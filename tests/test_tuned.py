"""Files of tuned settings: what is written is read again, and what is wrong with one is said in a line."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks import tuned
from benchmarks.errors import UserError
from benchmarks.methods import Row
from benchmarks.suite import DEFAULT_SUITE, load_suite
from benchmarks.tuned import Tuned
from dmil import Budget
from tests.made_tuned import made_tuned

N_CONFIGURATIONS = {"avdigits-mixed": 16}  # searched for each row; elsewhere 64
COMMITTED = sorted((Path(__file__).resolve().parents[1] / "benchmarks" / "tuned").glob("*/*.yaml"))
JOINT = Row("joint", "joint", ("left", "right"))


def test_what_is_saved_is_loaded_and_readable(tmp_path: Path) -> None:
    made = made_tuned(lr=0.1 + 0.2, dropout=0.0)
    path = tuned.save(made, tmp_path)
    assert path == tmp_path / "digits" / "joint.yaml"
    assert tuned.load("digits", "joint", tmp_path) == made
    first = path.read_bytes()
    assert tuned.save(replace(made), tmp_path).read_bytes() == first
    assert [found.name for found in path.parent.iterdir()] == ["joint.yaml"], "no draft is left"
    lines = first.decode().splitlines()
    assert lines[0] == "# Written by: python -m sweeps run --dataset digits --set 'joint.lr=1e-3'"
    assert [line.split(":")[0] for line in lines[1:] if line[0].isalpha()] == [one.name for one in fields(Tuned)]
    assert "  lr: 0.30000000000000004" in lines
    assert tuned.is_tuned("digits", tmp_path)


def test_no_file_no_tuned_settings(tmp_path: Path) -> None:
    assert tuned.load("digits", "joint", tmp_path) is None
    assert not tuned.is_tuned("digits", tmp_path)
    assert tuned.tuned_settings("digits", [JOINT], "c0ffee", tmp_path) == {}


def test_the_default_need_not_have_a_score(tmp_path: Path) -> None:
    made = replace(made_tuned(), default_score=None)
    tuned.save(made, tmp_path)
    assert tuned.load("digits", "joint", tmp_path) == made


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("settings: {", "cannot be read"),
        ("- joint", "must be a mapping, but got"),
        ({"sweeps": "x"}, "unknown key 'sweeps'; did you mean 'sweep'? known: dataset, method"),
        ({"sweep": ..., "code": ...}, "lacks sweep, code"),
        ({"n_configurations": "many"}, "n_configurations must be a whole number of 1 or more, but got 'many'"),
        ({"n_configurations": 0}, "n_configurations must be a whole number of 1 or more, but got 0"),
        ({"revision": True}, "revision must be a whole number"),
        ({"valid_score": float("nan")}, "valid_score must be a finite number, but got nan"),
        ({"valid_loss": None}, "valid_loss must be a finite number, but got None"),
        ({"seeds": []}, "seeds must be a list of whole numbers, but got []"),
        ({"seeds": [1, "2"]}, "seeds must be a list of whole numbers"),
        ({"settings": [1]}, "settings must be a mapping"),
        ({"budget": {"patience": 3}}, "budget must say epochs"),
        ({"tuned_at": 2026}, "tuned_at must be text, but got 2026"),
        ({"method": "dmil"}, "speaks of dmil on digits, not of joint on digits"),
    ],
)
def test_a_faulty_file_is_named(change: Any, message: str, tmp_path: Path) -> None:
    path = tuned.save(made_tuned(), tmp_path)
    if isinstance(change, dict):
        content = yaml.safe_load(path.read_text()) | change
        change = yaml.safe_dump({name: value for name, value in content.items() if value is not ...})
    path.write_text(change)
    with pytest.raises(UserError) as caught:
        tuned.load("digits", "joint", tmp_path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"widht": 3}, "unknown setting 'widht'; did you mean 'width'?"),
        ({"width": "wide"}, "setting 'width' takes int, but got 'wide'"),
        ({"width": 0}, "`width >= 1` must hold"),
        ({"depth": ...}, "lacks the setting depth"),
    ],
)
def test_settings_that_the_method_does_not_take(settings: dict[str, Any], message: str, tmp_path: Path) -> None:
    made = made_tuned(**settings)
    made = replace(made, settings={name: value for name, value in made.settings.items() if value is not ...})
    path = tuned.save(made, tmp_path)
    with pytest.raises(UserError) as caught:
        tuned.tuned_settings("digits", [JOINT], made.data_checksum, tmp_path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_files_of_this_checkout_fit_their_methods(path: Path) -> None:
    found = tuned.load(path.parent.name, path.stem, path.parents[1])
    assert found
    row = Row(path.stem, "unimodal" if path.stem.startswith("unimodal_") else path.stem, ())
    fitting = tuned.tuned_settings(path.parent.name, [row], found.data_checksum, path.parents[1])
    assert fitting == {path.stem: found}
    assert found.budget == asdict(Budget(**load_suite(DEFAULT_SUITE, found.dataset).budget)), "that of the leaderboard"
    n = N_CONFIGURATIONS.get(found.dataset, 64)
    assert (found.n_configurations, found.seeds, found.overrides) == (n, (1000, 1001), ()), "as for all others"
    alone = path.stem.removeprefix("unimodal_")
    assert list(found.encoders) == [alone] if alone != path.stem else len(found.encoders) >= 2


def test_reading_them_needs_no_torch(root: Path) -> None:
    code = "import sys, benchmarks.tuned; assert 'torch' not in sys.modules; assert 'yaml' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=root, check=True)
