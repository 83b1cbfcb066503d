"""What a person sees while a sweep runs: one bar over all configurations, one line for each population that ends."""

from __future__ import annotations

from types import TracebackType

from benchmarks.trials import FAILED, FINISHED, ConfigurationRecord, PopulationRecord
from sweeps.study import Study


class Watch:
    """A bar on a terminal, lines everywhere. n_total: configurations of all studies; n_done: there already."""

    def __init__(self, n_total: int, n_done: int) -> None:
        from rich import progress
        from rich.console import Console

        self._console = Console()
        columns = (
            progress.TextColumn("{task.description}"),
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            progress.TimeElapsedColumn(),
            progress.TimeRemainingColumn(),
        )
        self._bars = progress.Progress(
            *columns, console=self._console, transient=True, disable=not self._console.is_terminal
        )
        self._bar = self._bars.add_task("configurations", total=n_total, completed=n_done)

    def __enter__(self) -> Watch:
        self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._bars.stop()

    def show(self, study: Study, record: PopulationRecord | None) -> None:
        """A population ended, or (None) the study had to be given up."""
        if record is None:
            self._print(f"{study.plan.method:<22} given up: {study.failure}")
            return
        self._bars.update(self._bar, advance=len(record.configurations))
        n_done, winner = len(study.configurations), study.winner
        line = f"{study.plan.method:<22} {n_done:>4} of {study.plan.n_trials} configurations"
        line += f", best {shown_score(study, winner)}" if winner else ", none trained to the end yet"
        ended = [one for one in record.configurations if one.status == FINISHED]
        n_failed = sum(one.status == FAILED for one in record.configurations)
        line += f" (this population {shown_score(study, max(ended, key=_score))}" if ended else " (this population none"
        line += f", {n_failed} failed)" if n_failed else ")"
        self._print(f"{line}, {record.seconds:.1f} s")

    def _print(self, line: str) -> None:
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)


def shown_score(study: Study, one: ConfigurationRecord) -> str:
    """Validation accuracy, or of a regression the mean absolute error."""
    score = _score(one)
    return f"{score:.4f}" if study.plan.is_higher_better else f"{-score:.4f}"


def _score(one: ConfigurationRecord) -> float:
    assert one.score is not None
    return one.score
