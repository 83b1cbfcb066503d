"""From a suite to specs: every run fully resolved, with the key that is its identity, before anything is trained."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.errors import UserError
from benchmarks.methods import TABLE, Row, check_names, left_out, rows
from benchmarks.provenance import code_revision, torch_release
from benchmarks.record import Plan, PlannedRow, content_hash
from benchmarks.suite import SettingsTable, Suite
from benchmarks.transfer import Transfer
from dmil.data import Splits
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
    for who, values in suite.settings.items():
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
    specs: list[Spec] = []
    table = rows(_fitting(suite, splits), tuple(splits.train.inputs))
    _check_targets(suite, table)
    card = splits.card
    if suite.theorem:
        common["theorem"] = True
    if suite.transfer is not None:
        _check_representations(suite, table)
        transfer = Transfer.choose(suite.transfer["train_classes"], splits)
        common["transfer"] = asdict(transfer)
        card = transfer.card(card)
    for row in table:
        for seed in range(suite.seeds):
            specs.append(_spec(row, seed, suite.settings, common, specs))
    planned = []
    for group in dict.fromkeys(spec.group for spec in specs):
        own = [spec for spec in specs if spec.group == group]
        keys = {str(spec.seed): spec.key for spec in own}
        base = _settings(own[0].row, suite.settings)
        planned.append(PlannedRow(own[0].row.name, group, base.to_dict(), keys))
    # What members of ensembles and synergy rest on is part of the protocol: a table never mixes two kinds of them.
    shared = {who: values for who, values in suite.settings.items() if who.startswith(("all", "unimodal"))}
    plan = Plan(
        suite=suite.name,
        dataset=suite.dataset,
        protocol=content_hash(common | {"settings": shared, "code": code_revision()}),
        planned_at=int(time.time() * 1000),
        command="",
        card=card.to_dict(),
        data_checksum=common["data"],
        rows=tuple(planned),
        budget=common["budget"],
        code=code_revision(),
    )
    return plan, specs


def _fitting(suite: Suite, splits: Splits) -> list[str]:
    """The methods of a suite without the estimators that cannot take the dataset; a line says which and why.

    Raises:
        UserError: where none is left.
    """
    out = left_out(suite.methods, len(splits.train.inputs), splits.task)
    kept = [name for name in suite.methods if name not in out]
    reasons = "; ".join(out.values())
    if not kept:
        raise UserError(f"nothing to run on {suite.dataset}: {reasons}")
    if out:
        print(f"left out on {suite.dataset}: {reasons}", file=sys.stderr)
    return kept


def _spec(row: Row, seed: int, table: SettingsTable, common: dict[str, Any], earlier: Sequence[Spec]) -> Spec:
    settings = _settings(row, table, seed)
    shared = common | {"method": row.name, "modalities": list(row.modalities), "code": code_revision(row.base)}
    members: tuple[Spec, ...] = ()
    if row.base == "ensemble":
        members = tuple(spec for spec in earlier if spec.row.base == "unimodal" and spec.seed == seed)
    content = shared | {"settings": settings.to_dict(), "seed": seed, "members": [spec.key for spec in members]}
    by_seed = {who: values for who, values in table.items() if "@" in who and who.split("@")[0] in _names(row)}
    group_content = {"settings": _settings(row, table).to_dict(), "by_seed": by_seed}
    group = content_hash(shared | group_content | {"members": [spec.group for spec in members]})
    return Spec(row, seed, settings, group, content, members)


def _settings(row: Row, table: SettingsTable, seed: int | None = None) -> Settings:
    """Defaults, then what the table says for all, for the method, for the row, and for each of these at one seed."""
    settings = row.method.Settings()
    names = _names(row)
    for who in [*names, *(f"{name}@{seed}" for name in names if seed is not None)]:
        settings = _override(who, settings, table.get(who, {}))
    return settings


def _names(row: Row) -> list[str]:
    """Under which names a settings table may speak of a row, the later ones winning."""
    return list(dict.fromkeys(("all", row.base, row.name)))


def _check_targets(suite: Suite, table: Sequence[Row]) -> None:
    """Raises UserError for settings of a seed or a unimodal row that this plan does not have."""
    unimodal = [row.name for row in table if row.base == "unimodal"]
    for who in suite.settings:
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


def _override(who: str, settings: Settings, values: dict[str, Any]) -> Settings:
    try:
        return override(settings, values)
    except ValueError as error:
        raise UserError(f"settings for {who!r}: {error}") from error


def _base(name: str) -> str:
    return "unimodal" if name.startswith("unimodal_") else name
