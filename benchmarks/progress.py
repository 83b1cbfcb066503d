"""What a person sees while a bench runs: one bar over all runs, one over the epochs of the stack in training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from benchmarks.record import RunRecord

if TYPE_CHECKING:
    from dmil.train import OnEpoch


class Progress:
    """Bars on a terminal; one line per finished table row everywhere, below the title where there is one."""

    def __init__(self, n_runs: int, title: str = "") -> None:
        from rich import progress
        from rich.console import Console

        columns = (
            progress.TextColumn("{task.description:<28}"),
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            progress.TimeElapsedColumn(),
        )
        console = Console()
        self._bars = progress.Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._runs = self._bars.add_task(title or "runs", total=n_runs)
        self._epochs = self._bars.add_task("epochs", total=1, visible=False)
        self._waiting: list[str] = []
        self._jobs = 1
        if title:
            console.print(title, highlight=False)

    def __enter__(self) -> Progress:
        self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._bars.stop()

    def start(self, *, n_done: int) -> None:
        """``n_done`` runs are there already."""
        self._bars.update(self._runs, advance=n_done)

    def side_by_side(self, rows: Sequence[str], jobs: int) -> None:
        """These rows begin in this order, ``jobs`` of them at a time, until each is finished."""
        self._waiting, self._jobs = list(rows), jobs
        self._show_rows()

    def _show_rows(self) -> None:
        self._bars.update(self._runs, description=", ".join(self._waiting[: self._jobs]) or "runs")

    def watch(self, row: str, n_epochs: int, n_seeds: int) -> OnEpoch:
        """An ``on_epoch`` callback that shows the epochs of the stack in training."""
        self._bars.reset(self._epochs, total=n_epochs, visible=True, description=f"{row} x {n_seeds}")

        def on_epoch(epoch: int, replicas: Mapping[int, Mapping[str, float]]) -> None:
            self._bars.update(self._epochs, completed=epoch)

        return on_epoch

    def finish(self, records: Sequence[RunRecord]) -> None:
        """The runs of the row are done."""
        self._bars.update(self._runs, advance=len(records))
        self._bars.update(self._epochs, visible=False)
        if records[0].method in self._waiting:
            self._waiting.remove(records[0].method)
            self._show_rows()
        good = [record for record in records if record.status == "finished"]
        name = "valid/acc" if all("valid/acc" in record.metrics for record in good) else "valid/mae"
        seconds = sum(record.metrics.get("train_seconds", 0.0) for record in records)
        line = f"{records[0].method:<22} {len(good)} of {len(records)} seeds"
        if good:
            line += f", {name} {sum(record.metrics[name] for record in good) / len(good):.3f}"
        self._bars.console.print(f"{line}, {seconds:.1f} s", highlight=False)
        for record in records:
            if record.status == "failed":
                self._bars.console.print(f"  seed {record.seed} failed: {record.error}", highlight=False)
