"""Settings of a mixture of interactions; torch is not needed to read them."""

from __future__ import annotations

import math
from dataclasses import dataclass

SLOTS = ("R", "U", "S")
MAX_STATES = 20_000_000
MAX_NOISE = 0.2
MAX_TRAIN = 200_000


@dataclass(frozen=True)
class Modality:
    """How one modality shows its symbols.

    flip: probability that a carrying slot shows another class. n_nuisance, nuisance_scale: number and standard
    deviation of the features that say nothing. veiled: every one-hot coordinate is multiplied by a random sign of its
    own, so that no linear map reads it while absolute values still do: hard to learn, as informative as before.
    """

    flip: float = 0.05
    n_nuisance: int = 7
    nuisance_scale: float = 1.0
    veiled: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.flip <= 1:
            raise ValueError(f"flip must lie in [0, 1], but got {self.flip}")
        if self.n_nuisance < 0 or not 0 <= self.nuisance_scale < math.inf:
            raise ValueError(
                "`n_nuisance >= 0` and a finite `nuisance_scale >= 0` must hold, but got "
                f"n_nuisance={self.n_nuisance}, nuisance_scale={self.nuisance_scale}"
            )


@dataclass(frozen=True)
class Mixture:
    """Settings of the generator, see ``_mixture_draw``.

    weights: probability of each composition in ``truth_names``. distract: probability that an idle slot shows a random
    class. noise: standard deviation of the Gaussian added to one-hot coordinates. n_train: training samples.
    """

    n_classes: int = 2
    weights: tuple[float, ...] = (1 / 3, 1 / 6, 1 / 6, 1 / 3)
    modalities: tuple[Modality, ...] = (Modality(), Modality())
    distract: float = 0.1
    noise: float = 0.1
    n_train: int = 4000

    def __post_init__(self) -> None:
        if self.n_modalities not in (2, 3):
            raise ValueError(f"two or three modalities are possible, but got {self.n_modalities}")
        if self.n_classes < 2:
            raise ValueError(f"`n_classes >= 2` must hold, but got n_classes={self.n_classes}")
        if self.n_states > MAX_STATES:
            raise ValueError(
                f"{self.n_classes} classes in {self.n_modalities} modalities make {self.n_states} symbol states, "
                f"but at most {MAX_STATES} can be enumerated; take fewer classes or modalities"
            )
        if len(self.weights) != len(self.truth_names):
            raise ValueError(f"one weight for each of {', '.join(self.truth_names)} is needed, but got {self.weights}")
        if not (min(self.weights) >= 0 and abs(sum(self.weights) - 1) <= 1e-9):
            raise ValueError(f"weights must be probabilities that sum to 1, but got {self.weights}")
        if not 0 <= self.distract <= 1:
            raise ValueError(f"distract must lie in [0, 1], but got {self.distract}")
        if not 0 <= self.noise <= MAX_NOISE:
            raise ValueError(f"noise must lie in [0, {MAX_NOISE}], or symbols are misread, but got {self.noise}")
        if not 1 <= self.n_train <= MAX_TRAIN:
            raise ValueError(f"`1 <= n_train <= {MAX_TRAIN}` must hold, but got n_train={self.n_train}")

    @property
    def n_modalities(self) -> int:
        return len(self.modalities)

    @property
    def truth_names(self) -> tuple[str, ...]:
        """The compositions: redundant, unique to one modality, synergistic."""
        return ("r", *(f"u{m + 1}" for m in range(self.n_modalities)), "s")

    @property
    def input_names(self) -> tuple[str, ...]:
        return tuple(f"x{m + 1}" for m in range(self.n_modalities))

    @property
    def n_symbols(self) -> int:
        """The classes, and silence as the last symbol."""
        return self.n_classes + 1

    @property
    def n_states(self) -> int:
        """Different things that all slots of all modalities together can show."""
        return int(self.n_symbols ** (len(SLOTS) * self.n_modalities))

    @property
    def widths(self) -> tuple[int, ...]:
        """Features of each modality."""
        return tuple(len(SLOTS) * self.n_symbols + modality.n_nuisance for modality in self.modalities)
