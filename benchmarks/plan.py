"""From a suite to specs: every run fully resolved, with the key that is its identity, before anything is trained."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.encoders import check_built, checked, choice_of, files_of
from benchmarks.errors import UserError
from benchmarks.methods import TABLE, Row, check_names, left_out, rows
from benchmarks.provenance import code_revision, torch_release
from benchmarks.record import Plan, PlannedRow, content_hash
from benchmarks.suite import SettingsTable, Suite, merge
from benchmarks.transfer import Transfer
from benchmarks.tuned import Tuned, is_tuned, tuned_settings
from dmil.data import Splits, Task
from dmil.encoders import TOKENS, Source, Sources
from dmil.selection import Budget
from dmil.settings import Settings, override


@dataclass(frozen=True)
class Spec:
    """One run: what it depends on (``content``, hashed into ``key``) and the objects to do it with.

    group: identity of dataset x method x settings without the seed. members: for an ensemble, the specs whose
    models it takes over.
    """

    row: Row
    seed: int
    settings: Settings
    group: str
    content: dict[str, Any]
    members: tuple[Spec, ...] = ()

    @property
    def transfer(self) -> Transfer | None:
        """On which classes the run learns and on which it is probed; None where it is judged on what it learns."""
        classes = self.content.get("transfer")
        return None if classes is None else Transfer(**classes)

    @property
    def key(self) -> str:
        return content_hash(self.content)


def check_suite(suite: Suite) -> Budget:
    """What can be wrong with a suite before any data is read.

    Raises:
        UserError: number of seeds, budget, unknown method, or setting.
    """
    if type(suite.seeds) is not int or suite.seeds < 1:
        raise UserError(f"the number of seeds must be a whole number of 1 or more, but got {suite.seeds!r}")
    if not suite.methods:
        raise UserError(f"no method to run; known: {', '.join(TABLE)}")
    check_names(suite.methods)
    if suite.transfer is not None and suite.theorem:
        raise UserError(f"suite {suite.name!r} asks for theorem and transfer, of which a dataset can have one")
    if suite.transfer is not None and suite.tuned:
        raise UserError(
            f"suite {suite.name!r} keeps classes from the methods that tuned settings were chosen on; run with TUNED=0"
        )
    for who, values in merge(suite.settings, suite.by_hand).items():
        name, _, seed = who.partition("@")
        if "@" in who and (not (seed.isascii() and seed.isdigit()) or seed != str(int(seed))):
            raise UserError(f"settings for {who!r}: after @ comes the number of a seed, as in joint@3")
        if name == "all":
            _override(who, Settings(), values)
        else:
            check_names([name])
            _override(who, TABLE[_base(name)].Settings(), values)
    try:
        return Budget(**suite.budget)
    except (TypeError, ValueError) as error:
        raise UserError(f"budget of suite {suite.name!r}: {error}") from error


def resolve(suite: Suite, splits: Splits, *, device: str) -> tuple[Plan, list[Spec]]:
    """Every run of a suite on a dataset, members before the ensembles made of them."""
    budget = check_suite(suite)
    common: dict[str, Any] = {
        "dataset": suite.dataset,
        "data": splits.checksum(),
        "budget": asdict(budget),
        "device": device.split(":")[0],
        "torch": torch_release(),
    }
    told = checked(suite.encoders, splits.train)
    chosen = choice_of(told)
    files = files_of(chosen)
    specs: list[Spec] = []
    table = rows(fitting(suite, told, splits.task), tuple(splits.train.inputs))
    _check_targets(suite, table)
    card = splits.card
    common |= {"encoders": chosen, **({"encoder_files": files} if files else {})}
    if suite.theorem:
        common["theorem"] = True
    if suite.transfer is not None:
        _check_representations(suite, table)
        _check_vocabularies(suite, told)
        transfer = Transfer.choose(suite.transfer["train_classes"], splits)
        common["transfer"] = asdict(transfer)
        card = transfer.card(card)
    alone = rows(["unimodal"], tuple(splits.train.inputs))
    tuned = tuned_settings(suite.dataset, [*table, *alone], common["data"]) if suite.tuned else {}
    layers = (suite.settings, {name: found.settings for name, found in tuned.items()}, suite.by_hand)
    for row in table:
        for seed in range(suite.seeds):
            specs.append(_spec(row, seed, layers, common, specs))
    check_built(told, [spec.settings for spec in specs if not spec.row.is_estimator])
    plan = Plan(
        suite=suite.name,
        dataset=suite.dataset,
        protocol=_protocol(suite, common, layers, alone),
        planned_at=int(time.time() * 1000),
        command="",
        card=card.to_dict() | {"encoders": chosen},
        data_checksum=common["data"],
        rows=_planned_rows(specs, layers, tuned),
        budget=common["budget"],
        code=code_revision(),
    )
    return plan, specs


def _planned_rows(
    specs: Sequence[Spec], layers: Sequence[SettingsTable], tuned: Mapping[str, Tuned]
) -> tuple[PlannedRow, ...]:
    planned = []
    for group in dict.fromkeys(spec.group for spec in specs):
        own = [spec for spec in specs if spec.group == group]
        keys = {str(spec.seed): spec.key for spec in own}
        settings = row_settings(own[0].row, *layers).to_dict()
        planned.append(PlannedRow(own[0].row.name, group, settings, keys, _tuning(own[0], tuned)))
    return tuple(planned)


def _tuning(spec: Spec, tuned: Mapping[str, Tuned]) -> dict[str, Any]:
    """Where the settings of a row come from; an ensemble trains nothing and has those of its members."""
    if spec.row.base == "ensemble":
        names = [member.row.name for member in spec.members if member.row.name in tuned]
        return {"members": {name: tuned[name].provenance | {"command": ""} for name in names}} if names else {}
    return tuned[spec.row.name].provenance if spec.row.name in tuned else {}


def _protocol(suite: Suite, common: dict[str, Any], layers: Sequence[SettingsTable], alone: Sequence[Row]) -> str:
    """Identity of what the rows of one table share.

    What members of ensembles and synergy rest on is part of it, whether planned here or not: a table never mixes two
    kinds of unimodal rows, nor rows planned with and without tuned settings.
    """
    for_all = {who: values for who, values in merge(suite.settings, suite.by_hand).items() if _target(who) == "all"}
    unimodal = {row.name: [row_settings(row, *layers).to_dict(), _by_seed(row, layers)] for row in alone}
    shared = {"all": for_all, "unimodal": unimodal, "tuned": suite.tuned and is_tuned(suite.dataset)}
    return content_hash(common | {"settings": shared, "code": code_revision()})


def fitting(suite: Suite, told: Sources, task: Task) -> list[str]:
    """The methods of a suite without those that cannot take the dataset; a line says which and why.

    Raises:
        UserError: where none is left.
    """
    out = left_out(suite.methods, told, task)
    kept = [name for name in suite.methods if name not in out]
    reasons = "; ".join(out.values())
    if not kept:
        raise UserError(f"nothing to run on {suite.dataset}: {reasons}")
    if out:
        print(f"left out on {suite.dataset}: {reasons}", file=sys.stderr)
    return kept


def _spec(
    row: Row, seed: int, layers: Sequence[SettingsTable], common: dict[str, Any], earlier: Sequence[Spec]
) -> Spec:
    """Whoever has the key of a run knows its group: tracking finds the runs of a row by their group alone."""
    settings, by_seed = row_settings(row, *layers, seed=seed), _by_seed(row, layers)
    shared = common | {"method": row.name, "modalities": list(row.modalities), "code": code_revision(row.base)}
    for name in ("encoders", "encoder_files"):
        if name in common:
            shared[name] = {modality: one for modality, one in common[name].items() if modality in row.modalities}
    members: tuple[Spec, ...] = ()
    if row.base == "ensemble":
        members = tuple(spec for spec in earlier if spec.row.base == "unimodal" and spec.seed == seed)
    group_content = {"settings": row_settings(row, *layers).to_dict(), "by_seed": by_seed}
    group = content_hash(shared | group_content | {"members": [spec.group for spec in members]})
    content = shared | {"settings": settings.to_dict(), "seed": seed, "members": [spec.key for spec in members]}
    if by_seed:
        content["group"] = group
    return Spec(row, seed, settings, group, content, members)


def row_settings(row: Row, *layers: SettingsTable, seed: int | None = None) -> Settings:
    """Defaults, then what each table says for all, for the method, for the row, and for each of these at one seed."""
    settings = row.method.Settings()
    names = _names(row)
    for table in layers:
        for who in [*names, *(f"{name}@{seed}" for name in names if seed is not None)]:
            settings = _override(who, settings, table.get(who, {}))
    return settings


def _by_seed(row: Row, layers: Sequence[SettingsTable]) -> dict[str, dict[str, Any]]:
    """Seed -> settings, of the seeds that have others than their row."""
    base = row_settings(row, *layers)
    seeds = {who.partition("@")[2] for table in layers for who in table if "@" in who and _target(who) in _names(row)}
    found = {seed: row_settings(row, *layers, seed=int(seed)) for seed in sorted(seeds)}
    return {seed: settings.to_dict() for seed, settings in found.items() if settings != base}


def _target(who: str) -> str:
    """Of whom ``joint@3`` speaks."""
    return who.partition("@")[0]


def _names(row: Row) -> list[str]:
    """Under which names a settings table may speak of a row, the later ones winning."""
    return list(dict.fromkeys(("all", row.base, row.name)))


def _check_targets(suite: Suite, table: Sequence[Row]) -> None:
    """Raises UserError for settings of a seed or a unimodal row that this plan does not have."""
    unimodal = [row.name for row in table if row.base == "unimodal"]
    for who in merge(suite.settings, suite.by_hand):
        name, _, seed = who.partition("@")
        if name.startswith("unimodal_") and unimodal and name not in unimodal:
            raise UserError(f"settings for {who!r}: this dataset has {', '.join(unimodal)}")
        if seed and int(seed) >= suite.seeds:
            raise UserError(f"settings for {who!r}: the seeds of this plan are 0 to {suite.seeds - 1}")


def _check_representations(suite: Suite, table: Sequence[Row]) -> None:
    """Raises UserError for a method that learns nothing which a probe could read."""
    without = [row.name for row in table if not row.method.has_representation]
    if without:
        raise UserError(
            f"suite {suite.name!r} probes the representation that a method has learned, but {', '.join(without)} "
            "has none; leave it out of the methods"
        )


def _check_vocabularies(suite: Suite, told: Mapping[str, Source]) -> None:
    """Raises UserError for words: those of the other classes alone would be unknown to who learned without these."""
    if words := [name for name, source in told.items() if source.kind == TOKENS]:
        raise UserError(
            f"suite {suite.name!r} learns on some classes and probes on the others, whose words in {', '.join(words)} "
            "it never met; use a dataset without tokens"
        )


def _override(who: str, settings: Settings, values: dict[str, Any]) -> Settings:
    try:
        return override(settings, values)
    except ValueError as error:
        raise UserError(f"settings for {who!r}: {error}") from error


def _base(name: str) -> str:
    return "unimodal" if name.startswith("unimodal_") else name
