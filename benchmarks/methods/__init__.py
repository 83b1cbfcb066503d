"""The tables of methods and estimators: visible name -> class. A method costs one file and one line here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks.errors import UserError, suggestion
from benchmarks.methods.agm import Agm
from benchmarks.methods.constant import Constant
from benchmarks.methods.ensemble import Ensemble
from benchmarks.methods.factorcl import FactorCl
from benchmarks.methods.gradient_blending import GradientBlending
from benchmarks.methods.i2m2 import I2M2
from benchmarks.methods.joint import Joint, JointMlp
from benchmarks.methods.label_shuffle import LabelShuffle
from benchmarks.methods.late_fusion import LateFusion, LateFusionLearned
from benchmarks.methods.lmf import Lmf
from benchmarks.methods.lsmi import Lsmi
from benchmarks.methods.mcr import Mcr
from benchmarks.methods.misa import Misa
from benchmarks.methods.mlb import Mlb
from benchmarks.methods.mmib import Mmib
from benchmarks.methods.mmml import Mmml
from benchmarks.methods.mmpareto import MMPareto
from benchmarks.methods.mmtm import Mmtm
from benchmarks.methods.multi_loss import MultiLoss
from benchmarks.methods.ogm_ge import OgmGe
from benchmarks.methods.pmr import Pmr
from benchmarks.methods.qmf import Qmf
from benchmarks.methods.tfn import Tfn
from benchmarks.methods.umt import Umt
from benchmarks.methods.unimodal import Unimodal
from dmil.data import Task
from dmil.encoders import Sources
from dmil.method import Method
from dmil.model import Dmil, DmilCd, DmilFc, DmilId
from dmil.pid import DmilPid, DmilPidEven, DmilPidFree, DmilPidLate, DmilPidMlpGate, DmilPidNoisy

METHODS: dict[str, type[Method]] = {
    "constant": Constant,
    "unimodal": Unimodal,
    "ensemble": Ensemble,
    "joint": Joint,
    "joint_mlp": JointMlp,
    "late_fusion": LateFusion,
    "late_fusion_learned": LateFusionLearned,
    "multi_loss": MultiLoss,
    "ogm_ge": OgmGe,
    "mlb": Mlb,
    "mmpareto": MMPareto,
    "gradient_blending": GradientBlending,
    "agm": Agm,
    "pmr": Pmr,
    "mcr": Mcr,
    "qmf": Qmf,
    "i2m2": I2M2,
    "umt": Umt,
    "factorcl": FactorCl,
    "mmml": Mmml,
    "mmtm": Mmtm,
    "mmib": Mmib,
    "tfn": Tfn,
    "lmf": Lmf,
    "misa": Misa,
    "dmil": Dmil,
    "dmil_fc": DmilFc,
    "dmil_id": DmilId,
    "dmil_cd": DmilCd,
    "dmil_pid": DmilPid,
    "dmil_pid_free": DmilPidFree,
    "dmil_pid_even": DmilPidEven,
    "dmil_pid_mlpgate": DmilPidMlpGate,
    "dmil_pid_late": DmilPidLate,
    "dmil_pid_noisy": DmilPidNoisy,
    "label_shuffle": LabelShuffle,
}
# Of other authors, beyond the conventional baselines.
FIELD = (
    "multi_loss", "ogm_ge", "agm", "pmr", "mlb", "mcr", "mmpareto", "gradient_blending", "mmtm", "mmib", "qmf", "i2m2",
    "umt", "misa", "tfn", "lmf", "factorcl", "mmml",
)  # fmt: skip
# Trained like a method, to show that the suite gives nothing away: not ranked, and nothing to be tuned.
CONTROLS = ("label_shuffle",)

# Rows that measure the data instead of competing: what they train is their own affair, not that of ``dmil.fit``.
ESTIMATORS: dict[str, type[Method]] = {"lsmi": Lsmi}
TABLE = METHODS | ESTIMATORS


@dataclass(frozen=True)
class Row:
    """One row of a leaderboard: a method on the modalities it sees. ``base`` is its name in ``TABLE``."""

    name: str
    base: str
    modalities: tuple[str, ...]

    @property
    def method(self) -> type[Method]:
        return TABLE[self.base]

    @property
    def is_estimator(self) -> bool:
        return self.base in ESTIMATORS

    @property
    def is_control(self) -> bool:
        return self.base in CONTROLS


def check_names(names: Iterable[str]) -> None:
    """Raises UserError for a name that no dataset could make valid."""
    for name in names:
        if name not in TABLE and not name.startswith("unimodal_"):
            raise UserError(f"unknown method {name!r}; {suggestion(name, TABLE)}")


def rows(names: Sequence[str], modalities: Sequence[str]) -> list[Row]:
    """The rows that some method names mean on a dataset: ``unimodal`` is one row per modality, an ensemble brings
    the unimodal rows it is made of, and a row named twice stands once, in the order of the table.

    Raises:
        UserError: for an unknown name, or a modality that the dataset lacks.
    """
    check_names(names)
    alone = {f"unimodal_{m}": Row(f"unimodal_{m}", "unimodal", (m,)) for m in modalities}
    wanted: dict[str, Row] = {}
    for name in names:
        if name.startswith("unimodal_") and name not in alone:
            raise UserError(f"unknown method {name!r}; this dataset has {', '.join(alone)}")
        if name in ("unimodal", "ensemble"):
            wanted |= alone
        if name in alone:
            wanted[name] = alone[name]
        elif name != "unimodal":
            wanted[name] = Row(name, name, tuple(modalities))
    order = list(TABLE)
    return sorted(wanted.values(), key=lambda row: (order.index(row.base), tuple(modalities).index(row.modalities[0])))


def left_out(names: Iterable[str], sources: Sources, task: Task) -> dict[str, str]:
    """Of these names the ones that cannot take the modalities or the task, with the reason."""
    reasons = {name: TABLE[name].unfit(sources, task) for name in names if name in TABLE}
    return {name: why for name, why in reasons.items() if why}
