"""Successive halving inside a stack: at a few epochs the worst configurations of a population leave it."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from dmil.method import Stage
from dmil.selection import Selection

# Share of all epochs -> share of the population that goes on from there, one configuration at least. A population
# shares all that decides what a stage is (see sweeps.space), so that its members are always compared within one stage.
RUNGS = ((1 / 9, 1 / 2), (1 / 3, 1 / 8))
LAST_STAGE_SHARE = 1 / 9


def rung_epochs(rungs: Sequence[tuple[float, float]], stages: Sequence[Stage]) -> dict[int, float]:
    """Epoch -> share kept there. The last rung lies in the last stage, after a ninth of it at least: what earlier
    stages say of a method that learns synergy last may thin a population, but never picks its winner."""
    total = sum(stage.epochs for stage in stages)
    last = stages[-1].epochs if stages else 0
    earliest = total - last + max(1, round(last * LAST_STAGE_SHARE))
    epochs: dict[int, float] = {}
    for number, (at, keep) in enumerate(rungs, 1):
        epoch = max(1, round(at * total))
        epoch = max(epoch, earliest) if number == len(rungs) else epoch
        if epoch < total:
            epochs[epoch] = min(keep, epochs.get(epoch, 1.0))
    return epochs


@dataclass
class Halving:
    """The ``prune`` of ``dmil.fit`` for configurations of S replicas each, replica c * S + s being seed s of c.

    Ranks by the mean over seeds of the best validation score so far in this stage, ties by lower loss, then by place.
    A configuration with a failed replica is out at once. spared: configurations that stay in any case, beside those
    that are kept. pruned_at: configuration -> epoch.
    """

    n_configurations: int
    n_seeds: int
    rungs: Mapping[int, float]
    last_stage: str
    spared: Collection[int] = ()
    seen: dict[int, tuple[str, Selection]] = field(default_factory=dict)
    pruned_at: dict[int, int] = field(default_factory=dict)
    broken: set[int] = field(default_factory=set)

    def __call__(self, epoch: int, stage: Stage, selections: Mapping[int, Selection]) -> Collection[int]:
        """Replicas to drop after this epoch."""
        self.seen |= {replica: (stage.name, selection) for replica, selection in selections.items()}
        alive = [c for c in range(self.n_configurations) if c not in self.pruned_at and c not in self.broken]
        out = {c for c in alive if any(self._has_failed(r, stage, selections) for r in self._replicas(c))}
        self.broken |= out
        if epoch in self.rungs:
            alive = sorted((c for c in alive if c not in out), key=self._rank)
            n_kept = max(1, math.floor(self.n_configurations * self.rungs[epoch]))
            late = {c for c in alive[n_kept:] if c not in self.spared and not self._is_done(c, stage)}
            self.pruned_at |= dict.fromkeys(late, epoch)
            out |= late
        return {replica for c in out for replica in self._replicas(c)}

    def _replicas(self, configuration: int) -> range:
        return range(configuration * self.n_seeds, (configuration + 1) * self.n_seeds)

    def _rank(self, configuration: int) -> tuple[float, float, int]:
        found = [self.seen[replica][1] for replica in self._replicas(configuration)]
        n = len(found)
        return -sum(one.score for one in found) / n, sum(one.loss for one in found) / n, configuration

    def _has_failed(self, replica: int, stage: Stage, selections: Mapping[int, Selection]) -> bool:
        """A replica that did not train in this epoch has failed, unless its stage ended early."""
        return replica not in selections and not self._is_over(replica, stage)

    def _is_over(self, replica: int, stage: Stage) -> bool:
        name, selection = self.seen.get(replica, ("", None))
        return name == stage.name and selection is not None and selection.is_over

    def _is_done(self, configuration: int, stage: Stage) -> bool:
        """Whether all its seeds have ended their last stage: there is nothing left to save."""
        return stage.name == self.last_stage and all(self._is_over(r, stage) for r in self._replicas(configuration))
