"""What can be wrong with a dataset before any method sees it: samples in two splits, features that know the labels.

An audit looks at test data; that is its nature. What it finds goes into the report and onto the terminal and nowhere
else: no training, selection or tuning reads it, sweeps do not call it, and no key of a run depends on it. It works on
the prepared splits, the very numbers that methods are trained on, and says which of its findings are checks and which
are only what the card states.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from hashlib import sha256
from importlib.metadata import version
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import checks, leak_probe
from benchmarks.checks import ALARM, MARGIN, N_ERRORS, PASS, UNKNOWN, Check
from benchmarks.record import content_hash
from benchmarks.registry import cache_folder
from dmil.data import Split, Splits

Floats = NDArray[np.float64]
Parts = Mapping[str, Split]

N_NAMED = 3  # examples in a text
NEAR = 0.005  # a column is nearly constant where all but this share of its rows at either end have one value
STANDARD = 1e-3  # how far from mean 0 and deviation 1 rounding, in float32, may leave a column
SCALED_ON = {"train": ("train",), "train and valid": ("train", "valid"), "all splits": ("train", "valid", "test")}


def audited(dataset: str, splits: Splits, checksum: str) -> dict[str, Any]:
    """The audit of a dataset with this data checksum: made once, then read from beside the prepared data.

    A stored audit that cannot be read is made again; one that cannot be stored is made by every command, which says so.
    """
    path = cache_folder(dataset) / f"audit-{_key(splits, checksum)}.json"
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(stored, dict) and stored.get("checksum") == checksum:
            return stored
    except (OSError, ValueError):
        pass  # not there, or damaged
    print(f"auditing {dataset} (once; what it finds is kept)", file=sys.stderr, flush=True)
    found = {"checksum": checksum} | audit(splits)
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(json.dumps(found, indent=1), encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        print(f"the audit of {dataset} cannot be kept at {path} ({error.strerror})", file=sys.stderr)
    return found


def _key(splits: Splits, checksum: str) -> str:
    """Of everything that decides what an audit says."""
    sources = [Path(str(module.__file__)) for module in (checks, leak_probe)] + [Path(__file__)]
    code = [sha256(path.read_bytes()).hexdigest() for path in sources]
    return content_hash([checksum, splits.card.to_dict(), code, version("scikit-learn"), version("numpy")])


def audit(splits: Splits) -> dict[str, Any]:
    """All that is found, as JSON content: ``checks`` (name, verdict, text), and what the checks were read from.

    splits: samples, groups and samples per class of each. repeats: samples of a split whose features are also in an
    earlier one, by "split in split" and modality, ``all`` for all modalities at once. columns: of each modality, how
    many there are, how many are constant in training and how many nearly so. scaling: largest deviation of a column
    from mean 0 or deviation 1 over the rows of one or several splits. probe: see ``leak_probe.Probe``.
    """
    parts = splits.parts()
    repeats = {f"{late} in {early}": _repeats(parts[early], parts[late]) for early, late in combinations(parts, 2)}
    scaling = {modality: _scaling(parts, modality) for modality in splits.train.inputs}
    why_not = leak_probe.why_not(splits)
    probes = [] if why_not else leak_probe.probe(splits)
    found = [
        _check_ids(parts),
        _check_groups(splits),
        _check_repeats(parts, repeats),
        _check_scaling(scaling, splits.card.preprocessing),
        _check_probes(probes, why_not, has_groups=bool(splits.train.groups)),
    ]
    return {
        "checks": [asdict(check) for check in found],
        "splits": {name: _sizes(split, splits) for name, split in parts.items()},
        "class_names": list(splits.task.class_names),
        "repeats": repeats,
        "columns": {modality: _columns(x.double().numpy()) for modality, x in splits.train.inputs.items()},
        "scaling": scaling,
        "probe": [asdict(probe) | {"is_alarm": probe.is_alarm} for probe in probes],
    }


def alarms(found: Mapping[str, Any]) -> list[str]:
    """The texts of the checks that sound the alarm."""
    return [check["text"] for check in found["checks"] if check["verdict"] == ALARM]


def summary(found: Mapping[str, Any]) -> str:
    """Every check with its verdict, in one line."""
    return "; ".join(f"{check['name']}: {check['verdict']}" for check in found["checks"])


def _sizes(split: Split, splits: Splits) -> dict[str, Any]:
    counts = None
    if splits.task.kind == "classification":
        counts = np.bincount(split.target.numpy(), minlength=splits.task.n_classes).tolist()
    return {"n": len(split), "n_groups": len(set(split.groups)) if split.groups else None, "class_counts": counts}


def _shared(parts: Parts, names: Mapping[str, Sequence[str]]) -> list[str]:
    """For each two splits that share some of these names a text: how many and the first of them."""
    found = []
    for one, other in combinations(parts, 2):
        both = sorted(set(names[one]) & set(names[other]))
        if both:
            more = ", .." if len(both) > N_NAMED else ""
            found.append(f"{len(both):,} in {one} and {other} ({', '.join(both[:N_NAMED])}{more})")
    return found


def _check_ids(parts: Parts) -> Check:
    name = "Sample ids"
    if not all(split.ids for split in parts.values()):
        return Check(name, UNKNOWN, "Not all samples of this dataset have ids.")
    shared = _shared(parts, {part: split.ids for part, split in parts.items()})
    shared += [f"some twice in {part}" for part, split in parts.items() if len(set(split.ids)) < len(split)]
    if shared:
        return Check(name, ALARM, f"Ids that name more than one sample: {'; '.join(shared)}.")
    return Check(name, PASS, f"No id is in two splits, nor twice in one ({sum(map(len, parts.values())):,} ids).")


def _check_groups(splits: Splits) -> Check:
    name, parts = "Groups", splits.parts()
    if not all(split.groups for split in parts.values()):
        text = "The samples of this dataset have no groups (speaker, video, subject) that could be compared."
        return Check(name, UNKNOWN, f"{text} Its card states how it was split: {splits.card.split_rule}.")
    shared = _shared(parts, {part: split.groups for part, split in parts.items()})
    if shared:
        return Check(name, ALARM, f"Groups whose samples are in two splits: {'; '.join(shared)}.")
    sizes = ", ".join(f"{part} {len(set(split.groups)):,}" for part, split in parts.items())
    return Check(name, PASS, f"No group (speaker, video, subject) is in two splits: {sizes}.")


def _repeats(early: Split, late: Split) -> dict[str, int]:
    """How many samples of ``late`` have exactly the features of a sample of ``early``."""
    rows = {
        modality: [_row_bytes(split.inputs[modality].numpy()) for split in (early, late)] for modality in late.inputs
    }
    pairs = [list(zip(*(both[i] for both in rows.values()), strict=True)) for i in range(2)]
    blank = [bytes(len(row)) for row in pairs[1][0]] if pairs[1] else []
    known = set(pairs[0])
    whole = sum(sample in known and list(sample) != blank for sample in pairs[1])
    return {"all": whole} | {modality: _n_in(both[1], both[0]) for modality, both in rows.items()}


def _n_in(late: Sequence[bytes], early: Sequence[bytes]) -> int:
    """Rows that are in both, but for rows of zeros: nothing was measured there."""
    known = set(early)
    return sum(row in known and any(row) for row in late)


def _row_bytes(x: NDArray[Any]) -> list[bytes]:
    """Equal rows give equal bytes, -0 being 0."""
    return [row.tobytes() for row in np.ascontiguousarray(x + 0.0)]


def _check_repeats(parts: Parts, repeats: Mapping[str, Mapping[str, int]]) -> Check:
    """An alarm where samples are the same in all modalities; of one modality alone that may be chance."""
    name = "Duplicates"
    whole = [
        f"{found['all']:,} of {len(parts[pair.split()[0]]):,} samples ({pair})"
        for pair, found in repeats.items()
        if found["all"]
    ]
    single = [
        f"{modality} {n:,} ({pair})"
        for pair, found in repeats.items()
        for modality, n in found.items()
        if n and modality != "all" and len(found) > 2
    ]
    if whole:
        return Check(name, ALARM, f"Samples with exactly the features of one in an earlier split: {'; '.join(whole)}.")
    text = "No sample has exactly the features of one in another split."
    return Check(name, PASS, f"{text} In one modality alone: {', '.join(single)}." if single else text)


def _columns(x: Floats) -> dict[str, int]:
    low, high = np.quantile(x, [NEAR, 1 - NEAR], axis=0, method="nearest")
    n_constant = int((np.ptp(x, axis=0) == 0).sum())
    return {"n": x.shape[1], "n_constant": n_constant, "n_nearly": int((low == high).sum()) - n_constant}


def _scaling(parts: Parts, modality: str) -> dict[str, float | None]:
    """Rows of which splits -> the largest deviation of a column from mean 0 or deviation 1; None where no column can
    tell. Columns that are constant in training are left out, and so are those that reach, in these rows, the largest
    value of all: they may be clipped."""
    values = {name: split.inputs[modality].double().numpy() for name, split in parts.items()}
    clip = max(float(np.abs(x).max()) for x in values.values())
    varies = np.ptp(values["train"], axis=0) > 0
    found: dict[str, float | None] = {}
    for on, names in SCALED_ON.items():
        x = np.concatenate([values[name] for name in names])
        x = x[:, varies & (np.abs(x).max(axis=0) < clip)]
        found[on] = float(max(np.abs(x.mean(0)).max(), np.abs(x.std(0) - 1).max())) if x.size else None
    return found


def _check_scaling(scaling: Mapping[str, Mapping[str, float | None]], preprocessing: str) -> Check:
    """On which rows the columns were standardised can be read off them. Nothing else of the preprocessing can."""
    name = "Preprocessing"
    stated = f"What the card states cannot be checked further: {preprocessing}."
    fits = {modality: _fitted_on(found) for modality, found in scaling.items()}
    wrong = [f"{modality} over {on}" for modality, on in fits.items() if on not in ("train", "")]
    if wrong:
        return Check(name, ALARM, f"Columns are standardised over more than the training rows: {', '.join(wrong)}.")
    unknown = [modality for modality, on in fits.items() if not on]
    if unknown:
        text = f"Columns of {', '.join(unknown)} do not show on which rows they were standardised, if they were."
        return Check(name, UNKNOWN, f"{text} {stated}")
    missed = [value for found in scaling.values() if (value := found["all splits"]) is not None]
    others = f"; over all rows they miss that by up to {max(missed):.2g}" if missed else ""
    text = f"Measured: columns have mean 0 and deviation 1 over the training rows{others}."
    return Check(name, PASS, f"{text} {stated}")


def _fitted_on(found: Mapping[str, float | None]) -> str:
    """The rows over which all columns are standard, empty where none or several are."""
    on = [name for name, deviation in found.items() if deviation is not None and deviation < STANDARD]
    return on[0] if len(on) == 1 else ""


def _check_probes(probes: Sequence[leak_probe.Probe], why_not: str, *, has_groups: bool) -> Check:
    name = "Label leak"
    if why_not:
        return Check(name, UNKNOWN, f"Not probed: {why_not}.")
    by = "group" if has_groups else "sample"
    rule = f"more than {100 * MARGIN:.0f} points and {N_ERRORS} standard errors"
    leaks = [f"{probe.modality} {_both(probe)}" for probe in probes if probe.is_alarm]
    if leaks:
        return Check(
            name,
            ALARM,
            f"A linear model knows the labels inside training and validation data, cross-validated by {by}, far better "
            f"than on test data (by {rule}): {', '.join(leaks)}. Features made with those labels look like this; "
            "validation, tuning and modality importance then mean nothing.",
        )
    shown = ", ".join(f"{probe.modality} {_both(probe)}" for probe in probes)
    text = f"A linear model on one modality is not better inside training and validation data, cross-validated by {by}"
    return Check(name, PASS, f"{text}, than on test data (by {rule}): {shown}.")


def _both(probe: leak_probe.Probe) -> str:
    return f"{probe.inside:.2f} inside, {probe.test:.2f} on test"
