"""Makes the top-level ``datasets/`` folder importable as ``benchmarks.datasets`` (DESIGN: the `datasets` name)."""

from pathlib import Path

__path__ = [str(Path(__file__).parents[1] / "datasets")]
