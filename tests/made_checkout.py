"""A checkout for tests that start commands as users do: in processes of their own."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pandas as pd


class Checkout:
    """A copy of the suite's sources with results of its own, and without tuned settings."""

    def __init__(self, sources: Path, folder: Path) -> None:
        self.folder = folder
        for name in ("benchmarks", "datasets", "dmil", "reports", "sweeps"):
            shutil.copytree(sources / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "out", "tuned"))
        cache = os.environ.get("DMIL_CACHE") or str(sources / ".cache" / "prepared")
        outer = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW")}
        self.environment = outer | {"DMIL_CACHE": cache, "OMP_NUM_THREADS": "1"}

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-u", "-m", *arguments],
            cwd=self.folder,
            env=self.environment | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *arguments: str, status: int = 0, **environment: str) -> str:
        process = self.start(*arguments, **environment)
        output, _ = process.communicate(timeout=240)
        assert process.returncode == status, output
        return output

    def bench(self, *arguments: str, status: int = 0, **environment: str) -> str:
        return self.run("benchmarks", "run", *arguments, status=status, **environment)

    def leaderboard(self, dataset: str = "digits") -> bytes:
        self.run("reports", "--dataset", dataset)
        return (self.folder / "reports" / "out" / dataset / "leaderboard.csv").read_bytes()

    def numbers(self) -> pd.DataFrame:
        """The leaderboard without its one column that is a measurement of time."""
        self.leaderboard()
        return pd.read_csv(self.folder / "reports/out/digits/leaderboard.csv").drop(columns="train_seconds")

    def query(self, sql: str) -> list[tuple[object, ...]]:
        with sqlite3.connect(self.folder / "results" / "mlflow.db") as connection:
            return connection.execute(sql).fetchall()
