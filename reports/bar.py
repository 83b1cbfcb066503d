"""What a person sees while pages are made, on a terminal only."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

T = TypeVar("T")


def waiting(text: str) -> AbstractContextManager[Any]:
    """A text that stands there as long as something takes."""
    from rich.console import Console

    console = Console(stderr=True)
    return console.status(text) if console.is_terminal else nullcontext()


def tracked(items: Sequence[T], name: Callable[[T], str]) -> Iterator[T]:
    """The items one by one, the bar saying which is at work; it vanishes at the end."""
    from rich import progress
    from rich.console import Console

    columns = (
        progress.TextColumn("{task.description:<36}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeElapsedColumn(),
    )
    console = Console(stderr=True)
    with progress.Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        task = bars.add_task("", total=len(items))
        for item in items:
            bars.update(task, description=name(item))
            yield item
            bars.advance(task)
