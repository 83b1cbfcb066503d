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
from hashlib import blake2b, sha256
from importlib.metadata import version
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import audit_columns, checks, leak_probe, pooled
from benchmarks.checks import ALARM, MARGIN, N_ERRORS, PASS, UNKNOWN, Check
from benchmarks.record import content_hash
from benchmarks.registry import cache_folder
from dmil.data import Split, Splits

Parts = Mapping[str, Split]
Keys = Mapping[str, Sequence[bytes]]  # modality -> one of each sample, the same for the same content, BLANK for zeros

N_NAMED = 3  # examples in a text
BLANK = b""


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
    sources = [Path(str(module.__file__)) for module in (audit_columns, checks, leak_probe, pooled)]
    sources.append(Path(__file__))
    code = [sha256(path.read_bytes()).hexdigest() for path in sources]
    return content_hash([checksum, splits.card.to_dict(), code, version("scikit-learn"), version("numpy")])


def audit(splits: Splits) -> dict[str, Any]:
    """All that is found, as JSON content: ``checks`` (name, verdict, text), and what the checks were read from.

    splits: samples, groups and samples per class of each. repeats: samples of a split whose features are also in an
    earlier one, by "split in split" and modality, ``all`` for all modalities at once. columns: of each modality that
    has some, how many there are, how many are constant in training and how many nearly so. scaling: of these, the
    largest deviation of a column from mean 0 or deviation 1 over the rows of one or several splits. probe: see
    ``leak_probe.Probe``.
    """
    parts, modalities = splits.parts(), tuple(splits.train.inputs)
    keys = {name: _keys(split) for name, split in parts.items()}
    repeats = {f"{late} in {early}": _repeats(keys[early], keys[late]) for early, late in combinations(parts, 2)}
    scaling = {m: one for m in modalities if (one := audit_columns.scaling(parts, m)) is not None}
    why_not = leak_probe.why_not(splits)
    probes = [] if why_not else leak_probe.probe(splits)
    found = [
        _check_ids(parts),
        _check_groups(splits),
        _check_repeats(parts, repeats),
        audit_columns.check(parts, scaling, splits.card.preprocessing),
        _check_probes(probes, why_not, has_groups=bool(splits.train.groups)),
    ]
    return {
        "checks": [asdict(check) for check in found],
        "splits": {name: _sizes(split, splits) for name, split in parts.items()},
        "class_names": list(splits.task.class_names),
        "repeats": repeats,
        "columns": {m: counts for m in scaling if (counts := audit_columns.counted(splits.train, m))},
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


def _keys(split: Split) -> Keys:
    found: dict[str, Sequence[bytes]] = {}
    for modality, x in split.inputs.items():
        own = [_key_of(one) for part in x.split(pooled.BLOCK) for one in part]
        found[modality] = [own[i] for i in split.rows[modality].tolist()] if modality in split.rows else own
    return found


def _key_of(x: torch.Tensor) -> bytes:
    """-0 is 0."""
    array = x.numpy()
    if not array.any():
        return BLANK
    return blake2b((array + 0.0 if x.is_floating_point() else array).tobytes(), digest_size=16).digest()


def _repeats(early: Keys, late: Keys) -> dict[str, int]:
    """How many samples of ``late`` have exactly the features of a sample of ``early``."""
    known = set(zip(*early.values(), strict=True))
    whole = sum(sample in known and any(sample) for sample in zip(*late.values(), strict=True))
    return {"all": whole} | {modality: _n_in(late[modality], early[modality]) for modality in late}


def _n_in(late: Sequence[bytes], early: Sequence[bytes]) -> int:
    """Samples that are in both, but for those of zeros: nothing was measured there."""
    known = set(early) - {BLANK}
    return sum(key in known for key in late)


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


def _check_probes(probes: Sequence[leak_probe.Probe], why_not: str, *, has_groups: bool) -> Check:
    name = "Label leak"
    if why_not:
        return Check(name, UNKNOWN, f"Not probed: {why_not}.")
    by = "group" if has_groups else "sample"
    rule = f"more than {100 * MARGIN:.0f} points and {N_ERRORS} standard errors"
    leaks = [f"{probe.modality} {_both(probe)}" for probe in probes if probe.is_alarm]
    pools = "".join(f" Of {probe.modality} it sees {probe.shown}." for probe in probes if probe.shown)
    if leaks:
        return Check(
            name,
            ALARM,
            f"A linear model knows the labels inside training and validation data, cross-validated by {by}, far better "
            f"than on test data (by {rule}): {', '.join(leaks)}. Features made with those labels look like this; "
            f"validation, tuning and modality importance then mean nothing.{pools}",
        )
    shown = ", ".join(f"{probe.modality} {_both(probe)}" for probe in probes)
    text = f"A linear model on one modality is not better inside training and validation data, cross-validated by {by}"
    return Check(name, PASS, f"{text}, than on test data (by {rule}): {shown}.{pools}")


def _both(probe: leak_probe.Probe) -> str:
    return f"{probe.inside:.2f} inside, {probe.test:.2f} on test"
