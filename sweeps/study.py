"""The search for one method's settings: Optuna proposes populations and is told what they reached; all of it on disk.

What is proposed depends on the results of earlier populations alone, never on when they arrived: population k is
proposed when those up to k - ahead have been told and no other, each configuration with a sampler of its own seed. So a
study that was killed, or run by more workers, ends with the same configurations. One that is prolonged after its end
knows all results by then.
"""

from __future__ import annotations

import fcntl
import json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from benchmarks.errors import UserError
from benchmarks.outbox import unwritable
from benchmarks.trials import FINISHED, PRUNED, ConfigurationRecord, PopulationRecord, StudyPlan
from dmil.seeds import derive_seed
from sweeps.population import Configuration, Population
from sweeps.space import distributions

if TYPE_CHECKING:
    import optuna

STORAGE = "optuna.db"
MOST_ATTEMPTS = 32
LEAST_RANDOM = 10


class Study:
    """One study at work in ``folder``, which one process at a time may hold.

    base, modalities: of the table row whose settings are searched. shared: settings that a population has in common.

    Raises:
        UserError: the folder is in another process's hands, cannot be written, or holds files that cannot be read.
    """

    def __init__(
        self, plan: StudyPlan, folder: Path, *, base: str, modalities: tuple[str, ...], shared: tuple[str, ...]
    ) -> None:
        self.plan, self.folder = plan, folder
        self.base, self.modalities, self.shared = base, modalities, shared
        self.failure: str | None = None
        self.is_exhausted = False
        self._lock = _locked(folder, plan)
        try:
            self._load()
        except BaseException:
            self.close()
            raise
        self._told: set[int] = set()
        self._handed_out = set(self.records)

    def _load(self) -> None:
        """What earlier commands left."""
        path = self.folder / STORAGE
        with disk_errors(self.folder):
            self.plan.save(self.folder)
            self.records = self._load_records()
            self._study = _open(path, self.plan)
            self._forget_orphans()
            self._proposed = self._load_proposals()
        if lost := set(self.records) - set(self._proposed):
            raise UserError(f"{path} lacks populations that are there ({min(lost)}); move {self.folder} away")

    def close(self) -> None:
        self._lock.close()

    @property
    def configurations(self) -> list[ConfigurationRecord]:
        """Of those asked for the ones that have been trained, by number; an earlier command may have asked for more."""
        found = [one for record in self.records.values() for one in record.configurations]
        return sorted((one for one in found if one.number < self.plan.n_trials), key=lambda one: one.number)

    @property
    def winner(self) -> ConfigurationRecord | None:
        """The best of those trained to the end: highest score, ties by lower loss, then the earlier one."""
        ended = [one for one in self.configurations if one.status == FINISHED]
        return min(ended, key=lambda one: (-_number(one.score), _number(one.loss), one.number)) if ended else None

    @property
    def n_left(self) -> int:
        """Configurations that are still to be trained; none of a study that failed."""
        wanted = min(self._n_proposed, self.plan.n_trials) if self.is_exhausted else self.plan.n_trials
        return 0 if self.failure else max(0, wanted - len(self.configurations))

    @property
    def is_complete(self) -> bool:
        return self.failure is None and self.n_left == 0

    def next(self) -> Population | None:
        """The next population that may be trained now, None where it must wait for others or there is none."""
        if self.failure:
            return None
        wanted = [k for k, found in self._proposed.items() if found[0].number < self.plan.n_trials]
        waiting = sorted(set(wanted) - self._handed_out)
        k = waiting[0] if waiting else len(self._proposed)
        if not waiting and not self._may_propose(k):
            return None
        population = self._propose(k)
        if population is not None:
            self._handed_out.add(k)
        return population

    def finish(self, record: PopulationRecord) -> None:
        """Keeps what a population reached, on disk before anything else happens."""
        record.save(self.folder)
        self.records[record.number] = record

    def settle(self) -> None:
        """Tells Optuna the results that no proposal needed; its file then shows the whole study.

        Not where an earlier command asked for more than this one: proposals still to come must not know of them.
        """
        if self._n_proposed <= self.plan.n_trials:
            for k in sorted(self.records):
                self._tell(k)

    @property
    def _n_proposed(self) -> int:
        return sum(len(configurations) for configurations in self._proposed.values())

    def _may_propose(self, k: int) -> bool:
        needed = range(max(0, k - self.plan.ahead + 1))
        return (
            not self.is_exhausted and self._n_proposed < self.plan.n_trials and all(j in self.records for j in needed)
        )

    def _propose(self, k: int) -> Population | None:
        """Population k; what an interrupted process left of its proposal is kept and completed."""
        for j in range(max(0, k - self.plan.ahead + 1)):
            self._tell(j)
        found = self._proposed.setdefault(k, [])
        left = self.plan.n_trials - (self._n_proposed - len(found))
        while len(found) < min(self.plan.population, left):
            configuration = self._ask(k, found)
            if configuration is None:
                break
            found.append(configuration)
        if not found:
            self.is_exhausted = True
            del self._proposed[k]
            return None
        plan = self.plan
        return Population(
            study=plan.key,
            number=k,
            method=plan.method,
            base=self.base,
            modalities=self.modalities,
            budget=plan.budget,
            encoders=plan.encoders,
            seeds=plan.seeds,
            rungs=plan.rungs,
            configurations=tuple(found),
        )

    def _ask(self, k: int, siblings: list[Configuration]) -> Configuration | None:
        """A configuration that the study has not had, None where the space seems to hold no other.

        The first of all is the base; those after the first of a population take over what it must share.
        """
        number = sum(len(configurations) for j, configurations in self._proposed.items() if j < k) + len(siblings)
        known = {_text(one.params) for configurations in self._proposed.values() for one in configurations}
        fixed = {name: siblings[0].params[name] for name in self.shared} if siblings else {}
        if number == 0:
            fixed = {name: self.plan.base[name] for name in self.plan.space}
        for attempt in range(MOST_ATTEMPTS):
            seed = derive_seed("sweep", self.plan.dataset, self.plan.method, number, attempt)
            self._study.sampler = _sampler(seed, fixed, max(LEAST_RANDOM, 2 * self.plan.population))
            trial = self._study.ask(distributions(self.plan.space))
            if _text(trial.params) not in known:
                trial.set_user_attr("place", [k, number])
                return self._configuration(number, trial.params)
            self._forget(trial.number)
        return None

    def _configuration(self, number: int, params: Mapping[str, Any]) -> Configuration:
        ordered = {name: params[name] for name in self.plan.space}
        return Configuration(number, ordered, self.plan.base | ordered)

    def _tell(self, k: int) -> None:
        """Tells Optuna what population k reached: finished ones as complete, the others as pruned, a failed one
        without a value, which makes it the worst."""
        if k in self._told:
            return
        import optuna

        trials = {place[1]: trial for place, trial in self._trials()}
        for one in self.records[k].configurations:
            trial = trials[one.number]
            if trial.state.is_finished():
                continue
            if one.status == FINISHED:
                self._study.tell(trial.number, one.score)
                continue
            if one.status == PRUNED:
                storage, step = self._study._storage, one.pruned_at or 0
                storage.set_trial_intermediate_value(trial._trial_id, step, _number(one.score))
            self._study.tell(trial.number, state=optuna.trial.TrialState.PRUNED)
        self._told.add(k)

    def _trials(self) -> list[tuple[list[int], optuna.trial.FrozenTrial]]:
        """Place (population, number) and trial of every configuration proposed."""
        trials = self._study.get_trials(deepcopy=False)
        return [(trial.user_attrs["place"], trial) for trial in trials if "place" in trial.user_attrs]

    def _forget_orphans(self) -> None:
        """Discards what a process asked for and was killed before it noted what for."""
        for trial in self._study.get_trials(deepcopy=False):
            if "place" not in trial.user_attrs and not trial.state.is_finished():
                self._forget(trial.number)

    def _forget(self, number: int) -> None:
        import optuna

        self._study.tell(number, state=optuna.trial.TrialState.FAIL)

    def _load_records(self) -> dict[int, PopulationRecord]:
        records = {}
        for path in sorted(self.folder.glob("population-*.json")):
            try:
                record = PopulationRecord.load(path)
            except (TypeError, ValueError, KeyError) as error:
                raise UserError(
                    f"{path} was not written by this version ({error!r}); move {self.folder} away"
                ) from error
            records[record.number] = record
        return records

    def _load_proposals(self) -> dict[int, list[Configuration]]:
        found: dict[int, list[Configuration]] = {}
        for (k, number), trial in sorted(self._trials(), key=lambda pair: pair[0][1]):
            found.setdefault(k, []).append(self._configuration(number, trial.params))
        return found


def _open(path: Path, plan: StudyPlan) -> optuna.Study:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = optuna.storages.RDBStorage(f"sqlite:///{path}")
    return optuna.create_study(storage=storage, study_name=plan.key, direction="maximize", load_if_exists=True)


def _sampler(seed: int, fixed: Mapping[str, Any], n_random: int) -> optuna.samplers.BaseSampler:
    """TPE over all settings at once, some of them given."""
    import optuna

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        # numpy takes 32-bit seeds.
        base = optuna.samplers.TPESampler(seed=seed % 2**32, n_startup_trials=n_random, multivariate=True)
        return optuna.samplers.PartialFixedSampler(dict(fixed), base) if fixed else base


def _locked(folder: Path, plan: StudyPlan) -> IO[str]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = (folder / ".lock").open("w")
    except OSError as error:
        raise unwritable(folder, error) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        handle.close()
        raise UserError(
            f"another process is at work on the same study of {plan.method} on {plan.dataset}; wait for it or stop it"
        ) from None
    return handle


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """What goes wrong with the files of studies, as one line: a full disk, a damaged file."""
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except OSError as error:
        raise UserError(f"cannot write to {folder} ({error.strerror}); what has finished is kept") from error
    except (StorageInternalError, SQLAlchemyError) as error:
        cause = error.__cause__ or error
        raise UserError(f"{STORAGE} in {folder} cannot be used ({' '.join(str(cause).split())[:200]})") from error


def _text(params: Mapping[str, Any]) -> str:
    return json.dumps(params, sort_keys=True)


def _number(value: float | None) -> float:
    assert value is not None, "a configuration that did not fail has a score and a loss"
    return value
