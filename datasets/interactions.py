"""A known truth: each sample is redundant, unique or synergistic, and the best possible accuracy is computed exactly.

Each of two modalities shows one symbol in each of three slots R, U, S: one of C classes, or "silent". A sample has a
label y and a composition: ``r`` (both R slots carry y), ``u1`` or ``u2`` (the U slot of one modality does), ``s`` (the
S slots carry a1 and a2 with a1 + a2 = y mod C, each alone independent of y). A carrying slot shows another class with
probability ``flip``; any other slot is silent, or shows a random class with probability ``distract``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from dmil.data import Card, Split, Splits, Task
from dmil.seeds import generator

RAW = ()
LIBRARIES = ("torch",)
TRUTH_NAMES = ("r", "u1", "u2", "s")
SLOTS = ("R", "U", "S")
SIZES = {"train": 4000, "valid": 1000, "test": 4000}


@dataclass(frozen=True)
class Mixture:
    """Settings of the generator. weights: probability of each composition in ``TRUTH_NAMES``."""

    n_classes: int = 2
    weights: tuple[float, float, float, float] = (1 / 3, 1 / 6, 1 / 6, 1 / 3)
    flip: float = 0.05
    distract: float = 0.1
    noise: float = 0.1
    n_nuisance: int = 7

    def __post_init__(self) -> None:
        if self.n_classes < 2:
            raise ValueError(f"`n_classes >= 2` must hold, but got n_classes={self.n_classes}")
        if min(self.weights) < 0 or abs(sum(self.weights) - 1) > 1e-9:
            raise ValueError(f"weights must be probabilities that sum to 1, but got {self.weights}")
        if not (0 <= self.flip <= 1 and 0 <= self.distract <= 1):
            raise ValueError(f"flip and distract must lie in [0, 1], but got {self.flip} and {self.distract}")

    @property
    def n_symbols(self) -> int:
        """The classes, and silence as the last symbol."""
        return self.n_classes + 1

    @property
    def width(self) -> int:
        """Features of one modality."""
        return len(SLOTS) * self.n_symbols + self.n_nuisance


def channels(mixture: Mixture) -> tuple[Tensor, Tensor]:
    """What a slot shows: carrying (C, V), row = value carried, and idle (V,); V = C + 1 symbols. float64."""
    n = mixture.n_classes
    carrying = torch.full((n, n), mixture.flip / (n - 1), dtype=torch.float64)
    carrying.fill_diagonal_(1 - mixture.flip)
    idle = torch.full((n + 1,), mixture.distract / n, dtype=torch.float64)
    idle[-1] = 1 - mixture.distract
    return F.pad(carrying, (0, 1)), idle


def slot_tables(mixture: Mixture) -> Tensor:
    """P(symbols of one slot in both modalities | slot, composition, y): (3, 4, C, V, V) in float64.

    Given composition and label the slots are independent, so these tables are the whole generator.
    """
    n, v = mixture.n_classes, mixture.n_symbols
    carrying, idle = channels(mixture)
    nothing = torch.outer(idle, idle)
    tables = nothing.expand(len(SLOTS), len(TRUTH_NAMES), n, v, v).clone()
    redundant = torch.einsum("yi,yj->yij", carrying, carrying)
    label = torch.arange(n)
    partner = carrying[(label[:, None] - label) % n]  # (y, a1, V): what modality 2 shows where modality 1 carries a1
    tables[SLOTS.index("R"), TRUTH_NAMES.index("r")] = redundant
    tables[SLOTS.index("U"), TRUTH_NAMES.index("u1")] = torch.einsum("yi,j->yij", carrying, idle)
    tables[SLOTS.index("U"), TRUTH_NAMES.index("u2")] = torch.einsum("i,yj->yij", idle, carrying)
    tables[SLOTS.index("S"), TRUTH_NAMES.index("s")] = torch.einsum("ai,yaj->yij", carrying, partner) / n
    return tables


def bayes_accuracy(mixture: Mixture) -> float:
    """Highest accuracy that any classifier can have: sum over all V^6 symbol states of max_y P(state, y).

    That of the observations is lower by less than 1e-10 at noise 0.1: a symbol is the largest of its one-hot
    coordinates but for a chance below C * Phi(-1 / (noise * sqrt(2))) = 4 * 7.7e-13 per slot, and there are six.
    """
    tables, weights = slot_tables(mixture).flatten(-2), torch.tensor(mixture.weights, dtype=torch.float64)
    best = torch.zeros((mixture.n_symbols**2,) * len(SLOTS), dtype=torch.float64)
    for y in range(mixture.n_classes):
        joint = torch.einsum("c,ci,cj,ck->ijk", weights / mixture.n_classes, *tables[:, :, y])
        best = torch.maximum(best, joint)
    return float(best.sum())


def posterior(mixture: Mixture, symbols: Tensor) -> Tensor:
    """P(y, composition | symbols): symbols (..., 2, 3) by modality and slot -> (..., C, 4) in float64, exact.

    NaN where the mixture cannot show these symbols.
    """
    tables = slot_tables(mixture).movedim((1, 2), (-1, -2))  # (slot, V, V, C, composition)
    joint = torch.tensor(mixture.weights, dtype=torch.float64) / mixture.n_classes
    for slot in range(len(SLOTS)):
        joint = joint * tables[slot, symbols[..., 0, slot], symbols[..., 1, slot]]
    return joint / joint.sum((-2, -1), keepdim=True)


def sample(mixture: Mixture, n: int, rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """n draws: symbols (n, 2, 3) by modality and slot, labels (n,), compositions (n,); all int64."""
    n_classes, v = mixture.n_classes, mixture.n_symbols
    label = torch.randint(n_classes, (n,), generator=rng)
    composition = torch.multinomial(torch.tensor(mixture.weights), n, replacement=True, generator=rng)
    tables = slot_tables(mixture).flatten(-2)
    pairs = [torch.multinomial(tables[slot, composition, label], 1, generator=rng) for slot in range(len(SLOTS))]
    pair = torch.cat(pairs, dim=1)
    return torch.stack([pair // v, pair % v], dim=1), label, composition


def observe(mixture: Mixture, symbols: Tensor, rng: torch.Generator) -> dict[str, Tensor]:
    """Features of both modalities: Q_m [one-hot slots + noise, nuisance], float32 (n, ``mixture.width``).

    Q_m is a fixed random rotation, the noise Gaussian, the nuisance standard normal and independent of everything.
    """
    n = len(symbols)
    inputs = {}
    for m in range(2):
        shown = F.one_hot(symbols[:, m], mixture.n_symbols).flatten(1).double()
        shown = shown + mixture.noise * torch.randn(shown.shape, generator=rng, dtype=torch.float64)
        nuisance = torch.randn(n, mixture.n_nuisance, generator=rng, dtype=torch.float64)
        inputs[f"x{m + 1}"] = (torch.cat([shown, nuisance], dim=1) @ rotation(mixture, m).T).float()
    return inputs


def rotation(mixture: Mixture, modality: int) -> Tensor:
    """Orthogonal (width, width) float64, the same for every sample of a modality."""
    rng = generator("interactions", "rotation", modality)
    gaussian = torch.randn(mixture.width, mixture.width, generator=rng, dtype=torch.float64)
    q, r = torch.linalg.qr(gaussian)
    return q * r.diagonal().sign()


MIXTURE = Mixture()
CARD = Card(
    name="interactions",
    title="Known interactions: an equal mixture of redundant, unique and synergistic samples",
    source="generated; datasets/interactions.py",
    licence="MIT, like the code",
    citation="This suite. The sample-wise mixture follows the question of Yang et al., CVPR 2026, arXiv 2606.11614.",
    split_rule="independent draws from the same distribution",
    preprocessing="none",
    traps=(
        "No method can be better than the Bayes accuracy but by chance: with 4000 test samples the standard error "
        "is about 0.4 points.",
        "A model of one modality cannot read synergistic samples at all.",
    ),
    modalities={f"x{m}": f"three noisy one-hot slots and nuisance, rotated ({MIXTURE.width})" for m in (1, 2)},
    truth_names=TRUTH_NAMES,
    bayes_accuracy=bayes_accuracy(MIXTURE),
)


def prepare(root: Path) -> Splits:
    """Reads nothing below ``root``."""
    return generate(MIXTURE, CARD)


def generate(mixture: Mixture, card: Card) -> Splits:
    """Independent splits of sizes ``SIZES``."""
    parts = {part: _split(mixture, part, n) for part, n in SIZES.items()}
    names = tuple(str(label) for label in range(mixture.n_classes))
    return Splits(**parts, task=Task("classification", mixture.n_classes, names), card=card)


def _split(mixture: Mixture, part: str, n: int) -> Split:
    symbols, label, composition = sample(mixture, n, generator("interactions", "symbols", part))
    inputs = observe(mixture, symbols, generator("interactions", "noise", part))
    ids = tuple(f"{part}-{i:05d}" for i in range(n))
    return Split(inputs, label, ids=ids, truth=composition)
