"""How much each setting mattered for reaching the best scores of a study: Optuna's PED-ANOVA."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reports.sweep import Study

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

LEAST = 10
# PED-ANOVA looks at the settings of this share of the configurations, the best ones.
BEST_SHARE = 0.25


@dataclass(frozen=True)
class Importances:
    """Setting -> its share, the largest first; shares sum to 1. reason: why there are none, where there are none."""

    shares: dict[str, float]
    reason: str = ""


def importances(study: Study) -> Importances:
    """Watanabe, Bansal, Hutter: "PED-ANOVA: Efficiently Quantifying Hyperparameter Importance in Arbitrary Subspaces"
    (IJCAI 2023).

    Only who is among the best matters to it, and by how much no score beats another: so configurations that were
    dropped or failed have their place here (see ``Study.counted``).
    """
    scored = [trial for trial in study.trials if trial.score is not None]
    if len(scored) < LEAST:
        return Importances({}, f"{len(scored)} configurations have a score, {LEAST} are needed")
    if not study.counted:
        return Importances({}, "no configuration has been trained to the end")
    if len(set(study.counted)) == 1:
        return Importances({}, "all configurations have the same score")
    import optuna
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    made = optuna.create_study(direction="maximize")
    distributions = {name: _distribution(entry) for name, entry in study.plan.space.items()}
    for trial, score in zip(study.trials, study.counted, strict=True):
        params = {name: trial.params[name] for name in distributions}
        made.add_trial(optuna.trial.create_trial(params=params, distributions=distributions, value=score))
    evaluator = PedAnovaImportanceEvaluator(target_quantile=BEST_SHARE)
    found = get_param_importances(made, evaluator=evaluator, params=list(distributions))
    return Importances(dict(sorted(found.items(), key=lambda pair: (-pair[1], pair[0]))))


def _distribution(entry: dict[str, Any]) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    if "choices" in entry:
        return CategoricalDistribution(entry["choices"])
    return FloatDistribution(entry["low"], entry["high"], log=entry["log"])
