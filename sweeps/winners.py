"""The winner of a study becomes the tuned settings of its method, unless those there come from a search worth more."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from benchmarks import tuned
from benchmarks.trials import FINISHED, StudyPlan
from benchmarks.tuned import Tuned
from sweeps.study import Study


def keep_winner(study: Study) -> str:
    """Writes ``benchmarks/tuned/<dataset>/<method>.yaml``; returns a line that says so, or why not.

    Raises:
        UserError: the file that is there is faulty, or cannot be replaced.
    """
    plan, found = study.plan, _tuned(study)
    if found is None:
        return f"{plan.method}: no configuration was trained to the end, nothing to keep"
    old = tuned.load(plan.dataset, plan.method)
    if old is not None and _is_current(old, study) and _is_worth_more(old, found):
        return (
            f"{plan.method}: tuned settings left as they are, from a search that was larger, of another suite or with "
            f"less set by hand ({_size(old)}); delete the file first"
        )
    return f"{plan.method}: tuned settings in {tuned.save(found)}"


def check_files(studies: Iterable[StudyPlan]) -> None:
    """Raises UserError where a file that a winner would replace is faulty."""
    for plan in studies:
        tuned.load(plan.dataset, plan.method)


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
        encoders=plan.encoders,
        overrides=plan.overrides,
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


def _is_worth_more(old: Tuned, new: Tuned) -> bool:
    """Whether a search was larger, searched settings that the new one was given, or belongs to another suite.

    What was found for encoders that the suite no longer has is worth nothing to it.
    """
    if old.suite != new.suite:
        return True
    if old.encoders != new.encoders:
        return False
    if set(old.overrides) < set(new.overrides):
        return True
    return set(old.overrides) == set(new.overrides) and _n_epochs(old) > _n_epochs(new)


def _n_epochs(found: Tuned) -> int:
    """Budget in epochs of single replicas, before halving and early stopping."""
    return found.n_configurations * len(found.seeds) * int(found.budget["epochs"])


def _size(found: Tuned) -> str:
    by_hand = f", {', '.join(found.overrides)} by hand" if found.overrides else ""
    epochs = f"{found.n_configurations} configurations × {len(found.seeds)} seeds × {found.budget['epochs']} epochs"
    return f"{epochs} of suite {found.suite}{by_hand}"
