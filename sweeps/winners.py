"""The winner of a study becomes the tuned settings of its method, unless those there had a larger budget."""

from __future__ import annotations

from datetime import UTC, datetime

from benchmarks import tuned
from benchmarks.trials import FINISHED
from benchmarks.tuned import Tuned
from sweeps.study import Study


def keep_winner(study: Study) -> str:
    """Writes ``benchmarks/tuned/<dataset>/<method>.yaml``; returns a line that says so, or why not."""
    plan, found = study.plan, _tuned(study)
    if found is None:
        return f"{plan.method}: no configuration was trained to the end, nothing to keep"
    old = tuned.load(plan.dataset, plan.method)
    if old is not None and _is_current(old, study) and _size(old) > _size(found):
        size = f"{old.n_configurations} configurations × {len(old.seeds)} seeds × {old.budget['epochs']} epochs"
        return f"{plan.method}: tuned settings left as they are, of a larger search ({size}); delete the file first"
    return f"{plan.method}: tuned settings in {tuned.save(found)}"


def _tuned(study: Study) -> Tuned | None:
    plan, winner, configurations = study.plan, study.winner, study.configurations
    if winner is None or winner.score is None or winner.loss is None:
        return None
    base = configurations[0]
    ended = max(record.ended for record in study.records.values())
    return Tuned(
        dataset=plan.dataset,
        method=plan.method,
        settings=winner.settings,
        sweep=plan.key,
        suite=plan.suite,
        budget=plan.budget,
        n_configurations=len(configurations),
        seeds=plan.seeds,
        n_epochs=sum(one.epochs for one in configurations),
        valid_score=winner.score,
        valid_loss=winner.loss,
        default_score=base.score if base.status == FINISHED else None,
        revision=plan.revision,
        code=plan.code,
        data_checksum=plan.data_checksum,
        torch=plan.torch,
        device=plan.device,
        tuned_at=datetime.fromtimestamp(ended / 1000, UTC).isoformat(timespec="seconds"),
        command=plan.command,
    )


def _is_current(old: Tuned, study: Study) -> bool:
    return old.data_checksum == study.plan.data_checksum and old.revision == study.plan.revision


def _size(found: Tuned) -> int:
    """Budget in epochs of single replicas, before halving and early stopping."""
    return found.n_configurations * len(found.seeds) * int(found.budget["epochs"])
