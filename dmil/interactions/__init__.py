"""Which information data and representations hold: decompositions, their estimators, and linear probes."""

from dmil.interactions.atoms import Decomposition
from dmil.interactions.batch import BatchSettings, fit_batch
from dmil.interactions.broja import broja
from dmil.interactions.lsmi import LsmiSettings, fit_lsmi
from dmil.interactions.pointwise import Pointwise, discrete_lsmi
from dmil.interactions.probe import Probe, fit_probe
from dmil.interactions.synergy import is_synergistic
from dmil.interactions.theorem import TheoremTerms, theorem_terms
from dmil.interactions.training import Schedule

__all__ = [
    "BatchSettings",
    "Decomposition",
    "LsmiSettings",
    "Pointwise",
    "Probe",
    "Schedule",
    "TheoremTerms",
    "broja",
    "discrete_lsmi",
    "fit_batch",
    "fit_lsmi",
    "fit_probe",
    "is_synergistic",
    "theorem_terms",
]
