"""What every test gets: real data where it is there, and nothing of the user's own results in reach."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.made_runs import Pair

ROOT = Path(__file__).resolve().parents[1]

# Before torch is imported, and inherited by the processes that tests start: models this small gain nothing beyond.
# Tests that run side by side, whose first process has set this for all of them, share the cores.
os.environ.setdefault("OMP_NUM_THREADS", str(min(os.cpu_count() or 1, 4)))
n_side_by_side = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
os.environ["OMP_NUM_THREADS"] = str(max(1, int(os.environ["OMP_NUM_THREADS"]) // n_side_by_side))


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def data_root() -> Path:
    """Folder of the raw data: ``DMIL_DATA`` (relative to the checkout), else ``data``. It need not exist."""
    return ROOT / (os.environ.get("DMIL_DATA") or "data")


@pytest.fixture(scope="session")
def require() -> Callable[[Path], Path]:
    """``require(path)`` returns the path, or skips the test and says which file is missing."""

    def check(path: Path) -> Path:
        if not path.exists():
            pytest.skip(f"{path} is missing: `make data` fetches it, DATA=folder names another place")
        return path

    return check


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    """A store of tracking, and the outbox that it is filled from, both empty."""
    from tests.made_runs import made_tracking

    return made_tracking(tmp_path)


@pytest.fixture(autouse=True)
def _isolated(data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the user's MLflow store or tuned settings.

    The prepared data stays shared: its names are content hashes.
    """
    for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
    monkeypatch.setenv("DMIL_DATA", str(data_root))
    monkeypatch.setattr("benchmarks.tuned.TUNED_DIR", tmp_path / "tuned")
