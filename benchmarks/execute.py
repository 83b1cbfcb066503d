"""Training and evaluating specs. ``fit_specs`` never receives the test split; ``evaluate`` touches it once."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks import predictions
from benchmarks.encoders import sources
from benchmarks.methods.constant import Constant
from benchmarks.methods.ensemble import Ensemble
from benchmarks.methods.lsmi import Lsmi, fit_lsmi
from benchmarks.methods.unimodal import Unimodal
from benchmarks.plan import Spec
from benchmarks.provenance import tags
from benchmarks.record import CHECKPOINT, PREDICTIONS, RunRecord
from benchmarks.resume import FileKeeper
from benchmarks.transfer import Transfer, probe
from dmil import metrics
from dmil.data import Split, Splits, Task
from dmil.interactions.theorem import theorem_terms
from dmil.method import Method, Output
from dmil.selection import Budget
from dmil.settings import shared_settings
from dmil.train import FitResult, OnEpoch, Replica, fit, predict

FindCheckpoint = Callable[[Spec], Path | None]


@dataclass(frozen=True)
class Fitted:
    """A spec with what training made of it."""

    spec: Spec
    result: FitResult
    peak_memory_mb: float | None = None


def fit_specs(
    specs: Sequence[Spec],
    train: Split,
    valid: Split,
    task: Task,
    *,
    device: str,
    on_epoch: OnEpoch | None = None,
    unfinished: Path | None = None,
) -> Iterator[list[Fitted]]:
    """Trains the seeds of one row, one stack after another; specs that cannot share a stack form several.

    unfinished: folder in which the state of a long training is kept until the caller, who stores what it is given,
    asks for the next stack.
    """
    ordered = sorted(specs, key=lambda spec: (repr(shared_settings(spec.settings)), spec.seed))
    for _, group in groupby(ordered, key=lambda spec: repr(shared_settings(spec.settings))):
        stack = list(group)
        row = stack[0].row
        parts = [split.only(row.modalities) for split in (train, valid)]
        if device != "cpu":
            torch.cuda.reset_peak_memory_stats(device)
        keeper = FileKeeper(unfinished, [spec.key for spec in stack]) if unfinished else None
        results = _fit_or_fail(stack, parts, task, device=device, on_epoch=on_epoch, keeper=keeper)
        peak = torch.cuda.max_memory_allocated(device) / 2**20 if device != "cpu" else None
        yield [Fitted(spec, result, peak) for spec, result in zip(stack, results, strict=True)]
        if keeper:
            keeper.remove()


def _fit_or_fail(
    stack: Sequence[Spec],
    parts: Sequence[Split],
    task: Task,
    *,
    device: str,
    on_epoch: OnEpoch | None,
    keeper: FileKeeper | None,
) -> list[FitResult]:
    """``fit``; whatever it raises (out of memory, say) makes every replica of the stack a failed one."""
    method, replicas = stack[0].row.method, [Replica(spec.seed, spec.settings) for spec in stack]
    train, valid = parts
    try:
        budget = Budget(**stack[0].content["budget"])
        encoders = stack[0].content["encoders"]
        return fit(
            method,
            train,
            valid,
            task,
            encoders=encoders,
            replicas=replicas,
            budget=budget,
            on_epoch=on_epoch,
            keeper=keeper,
            device=device,
        )
    except Exception as error:
        return _failures(stack, train, task, error)


def _failures(stack: Sequence[Spec], train: Split, task: Task, error: Exception) -> list[FitResult]:
    """A failed result for every spec of a stack."""
    reason = f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"
    nothing = Method(stack[0].settings, sources(train, stack[0].content["encoders"]), task)
    return [FitResult(Replica(spec.seed, spec.settings), nothing, "failed", reason) for spec in stack]


def estimate(
    specs: Sequence[Spec], train: Split, valid: Split, task: Task, *, device: str, on_epoch: OnEpoch | None = None
) -> Iterator[list[Fitted]]:
    """Trains the seeds of an estimator, like ``fit_specs``; it selects nothing, so ``valid`` is left alone."""
    ordered = sorted(specs, key=lambda spec: (repr(spec.settings), spec.seed))
    for _, group in groupby(ordered, key=lambda spec: repr(spec.settings)):
        stack = list(group)
        part = train.only(stack[0].row.modalities)
        epochs, seeds = stack[0].content["budget"]["epochs"], [spec.seed for spec in stack]
        settings: Any = stack[0].settings
        started = time.perf_counter()
        try:
            models = fit_lsmi(settings, part, task, seeds=seeds, epochs=epochs, device=device, on_epoch=on_epoch)
            results = [FitResult(Replica(spec.seed), model) for spec, model in zip(stack, models, strict=True)]
        except Exception as error:
            results = _failures(stack, part, task, error)
        for result in results:
            result.seconds = (time.perf_counter() - started) / len(stack)
        yield [Fitted(spec, result) for spec, result in zip(stack, results, strict=True)]


def assemble(spec: Spec, train: Split, task: Task, find: FindCheckpoint) -> Fitted:
    """An ensemble from the trained unimodal models of the same seed; its cost is theirs.

    ``find`` gives the checkpoint of a member, None where that member has no finished run.
    """
    from safetensors import safe_open

    told = sources(train, spec.content["encoders"])
    model = Ensemble(spec.settings, told, task)
    result = FitResult(Replica(spec.seed, spec.settings), model.eval())
    members = {}
    for member in spec.members:
        path = find(member)
        if path is None:
            result.status, result.error = "failed", f"its member {member.row.name} has no finished run for this seed"
            return Fitted(spec, result)
        with safe_open(path, "pt") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            result.seconds += float(file.metadata()["train_seconds"])
        (modality,) = member.row.modalities
        members[modality] = Unimodal(member.settings, {modality: told[modality]}, task)
        members[modality].load_state_dict(state)
    model.adopt(members)
    return Fitted(spec, result)


def evaluate(fitted: Fitted, splits: Splits, folder: Path, **identity: str) -> RunRecord:
    """Measures one fitted spec on validation and, this once, on test; writes its files into ``folder``.

    identity: suite and protocol of the record.
    """
    from safetensors.torch import save_file

    spec, result = fitted.spec, fitted.result
    folder.mkdir(parents=True)
    values: dict[str, Any] = {"train_seconds": result.seconds}
    if fitted.peak_memory_mb is not None:
        values["peak_memory_mb"] = fitted.peak_memory_mb
    if result.status == "finished":
        if not spec.row.is_estimator:
            result.method.to(spec.content["device"])
        if spec.transfer is not None:
            values["source/valid_acc"] = _source_accuracy(fitted, splits, spec.transfer)
            splits = spec.transfer.target(splits)
        parts = _predictions(fitted, splits)
        for name, split, output in parts:
            values |= {f"{name}/{metric}": value for metric, value in scores(output.logits, split, splits.task).items()}
        if spec.content.get("theorem"):
            values |= _theorem(fitted, splits)
        values |= {"n_params": result.n_params, "best_epoch": result.best_epoch, "epochs_run": len(result.history)}
        predictions.write(folder / PREDICTIONS, parts, splits.card, result.method.component_names)
        result.method.to("cpu")
        state = {name: tensor.contiguous() for name, tensor in result.method.state_dict().items()}
        save_file(state, folder / CHECKPOINT, metadata={"key": spec.key, "train_seconds": repr(result.seconds)})
    now = int(time.time() * 1000)
    record = RunRecord(
        key=spec.key,
        group=spec.group,
        dataset=splits.card.name,
        method=spec.row.name,
        seed=spec.seed,
        status=result.status,
        error=result.error,
        spec=spec.content,
        metrics=values,
        history=result.history,
        tags=tags(spec.content["device"]),
        started=now - int(1000 * result.seconds),
        ended=now,
        **identity,
    )
    record.save(folder)
    return record


def training_data(spec: Spec, splits: Splits) -> tuple[Split, Split, Task]:
    """What a spec may learn from and select on: training split, validation split and their task."""
    if spec.transfer is None:
        return splits.train, splits.valid, splits.task
    return spec.transfer.source(splits)


def _predictions(fitted: Fitted, splits: Splits) -> list[tuple[str, Split, Output]]:
    """On validation and test: the method's own predictions, or those of a probe where it learned on other classes."""
    spec, method = fitted.spec, fitted.result.method
    parts = {name: split.only(spec.row.modalities) for name, split in splits.parts().items()}
    if spec.transfer is None:
        outputs = [_predicted(method, parts[name]) for name in ("valid", "test")]
    else:
        outputs = probe(method, Splits(parts["train"], parts["valid"], parts["test"], splits.task, splits.card))
    return [("valid", parts["valid"], outputs[0]), ("test", parts["test"], outputs[1])]


def _theorem(fitted: Fitted, splits: Splits) -> dict[str, float]:
    """Terms of DMIL's theorem on test samples, raw, in nats; nothing where compositions or features are unknown."""
    split = splits.test.only(fitted.spec.row.modalities)
    if split.truth is None or not fitted.result.method.has_representation:
        return {}
    z = predict(fitted.result.method, split, representation=True).representation
    assert z is not None, f"{fitted.spec.row.name} says that it has a representation"
    n_compositions = len(splits.card.truth_names)
    found = theorem_terms(z, split.target, split.truth, n_classes=splits.task.n_classes, n_compositions=n_compositions)
    return {
        "test/theorem_i_zy_given_c": found.information_given_composition,
        "test/theorem_h_c_given_z": found.composition_entropy,
        "test/theorem_i_yc": found.label_and_composition,
        "test/theorem_bound": found.bound,
        "test/theorem_i_zy": found.information,
    }


def _source_accuracy(fitted: Fitted, splits: Splits, transfer: Transfer) -> float:
    """Validation accuracy of the method itself, on the classes that it learned."""
    _, valid, _ = transfer.source(splits)
    valid = valid.only(fitted.spec.row.modalities)
    return metrics.accuracy(predict(fitted.result.method, valid).logits, valid.target)


def _predicted(method: Method, split: Split) -> Output:
    """A method's predictions, and of an estimator what it says of each sample."""
    output = predict(_judged(method, split), split)
    if isinstance(method, Lsmi):
        output.extra |= method.information(split)
    return output


def _judged(method: Method, split: Split) -> Method:
    """The method itself, or for the constant floor a copy that knows this split's label frequencies."""
    if not isinstance(method, Constant):
        return method
    floor = copy.deepcopy(method)
    floor.prepare(split)
    return floor


def scores(logits: Tensor, split: Split, task: Task) -> dict[str, float]:
    """The metrics of a task on one split."""
    if task.kind == "regression":
        return {
            "mae": metrics.mean_absolute_error(logits, split.target),
            "corr": metrics.correlation(logits, split.target),
            **{name: metrics.SENTIMENT[name](logits, split.target) for name in task.metrics},
        }
    return {
        "acc": metrics.accuracy(logits, split.target),
        "macro_f1": metrics.macro_f1(logits, split.target),
        "nll": metrics.negative_log_likelihood(logits, split.target),
        "ece": metrics.expected_calibration_error(logits, split.target),
    }
