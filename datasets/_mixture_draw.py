"""The generator of a mixture: exact tables of what slots show, samples of them, and the features made of these."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dmil.seeds import generator

from ._mixture import SLOTS, Mixture

AXES = "ijk"  # symbols of the modalities in einsum, which carry the values "abc"


def channels(mixture: Mixture) -> tuple[Tensor, Tensor]:
    """What a slot shows: carrying (M, C, V), row = value carried, and idle (V,); V = C + 1 symbols. float64."""
    n = mixture.n_classes
    carrying = torch.empty(mixture.n_modalities, n, n, dtype=torch.float64)
    for table, modality in zip(carrying, mixture.modalities, strict=True):
        table.fill_(modality.flip / (n - 1)).fill_diagonal_(1 - modality.flip)
    idle = torch.full((n + 1,), mixture.distract / n, dtype=torch.float64)
    idle[-1] = 1 - mixture.distract
    return F.pad(carrying, (0, 1)), idle


def slot_tables(mixture: Mixture) -> Tensor:
    """P(symbols of one slot in all modalities | slot, composition, y): (3, M + 2, C, V, .., V) in float64.

    Given composition and label the slots are independent, so these tables are the whole generator.
    """
    n, names = mixture.n_classes, mixture.truth_names
    carrying, idle = channels(mixture)
    nothing = idle.expand(n, -1)
    empty = _independent([nothing] * mixture.n_modalities)
    tables = empty.expand(len(SLOTS), len(names), *empty.shape).clone()
    tables[SLOTS.index("R"), names.index("r")] = _independent(list(carrying))
    tables[SLOTS.index("S"), names.index("s")] = _summing(carrying)
    for m in range(mixture.n_modalities):
        shown = [carrying[m] if other == m else nothing for other in range(mixture.n_modalities)]
        tables[SLOTS.index("U"), names.index(f"u{m + 1}")] = _independent(shown)
    return tables


def _independent(shown: list[Tensor]) -> Tensor:
    """(C, V) per modality -> (C, V, .., V), the modalities independent given the label."""
    axes = AXES[: len(shown)]
    return torch.einsum(f"{','.join(f'y{axis}' for axis in axes)}->y{axes}", *shown)


def _summing(carrying: Tensor) -> Tensor:
    """(M, C, V) -> (C, V, .., V): the values carried are uniform among those that sum to the label modulo C."""
    n_modalities, n = carrying.shape[:2]
    axes, values = AXES[:n_modalities], "abc"[:n_modalities]
    total = torch.stack(torch.meshgrid([torch.arange(n)] * n_modalities, indexing="ij")).sum(0) % n
    allowed = torch.stack([total == y for y in range(n)]).double() / n ** (n_modalities - 1)
    terms = ",".join(value + axis for value, axis in zip(values, axes, strict=True))
    return torch.einsum(f"y{values},{terms}->y{axes}", allowed, *carrying)


def sample(mixture: Mixture, n: int, rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """n draws: symbols (n, M, 3) by modality and slot, labels (n,), compositions (n,); all int64."""
    label = torch.randint(mixture.n_classes, (n,), generator=rng)
    composition = torch.multinomial(torch.tensor(mixture.weights), n, replacement=True, generator=rng)
    tables = slot_tables(mixture).flatten(3)
    states = [torch.multinomial(tables[slot, composition, label], 1, generator=rng) for slot in range(len(SLOTS))]
    shape = (mixture.n_symbols,) * mixture.n_modalities
    return torch.stack(torch.unravel_index(torch.cat(states, dim=1), shape), dim=1), label, composition


def observe(mixture: Mixture, symbols: Tensor, rng: torch.Generator) -> dict[str, Tensor]:
    """Features of every modality: Q_m [one-hot slots + noise, nuisance], float32 (n, ``mixture.widths[m]``).

    Q_m is a fixed random rotation, noise and nuisance are Gaussian and independent of everything. The one-hot
    coordinates of a veiled modality have random signs.
    """
    n = len(symbols)
    inputs = {}
    for m, (name, modality) in enumerate(zip(mixture.input_names, mixture.modalities, strict=True)):
        shown = F.one_hot(symbols[:, m], mixture.n_symbols).flatten(1).double()
        if modality.veiled:
            shown = shown * (2 * torch.randint(2, shown.shape, generator=rng) - 1)
        shown = shown + mixture.noise * torch.randn(shown.shape, generator=rng, dtype=torch.float64)
        nuisance = torch.randn(n, modality.n_nuisance, generator=rng, dtype=torch.float64) * modality.nuisance_scale
        inputs[name] = (torch.cat([shown, nuisance], dim=1) @ rotation(mixture, m).T).float()
    return inputs


def read(mixture: Mixture, inputs: dict[str, Tensor]) -> Tensor:
    """The symbols (n, M, 3) that features show: ``observe`` undone, wrong as rarely as ``misreading`` says."""
    n_shown = len(SLOTS) * mixture.n_symbols
    found = []
    for m, (name, modality) in enumerate(zip(mixture.input_names, mixture.modalities, strict=True)):
        shown = (inputs[name].double() @ rotation(mixture, m))[:, :n_shown].reshape(-1, len(SLOTS), mixture.n_symbols)
        found.append((shown.abs() if modality.veiled else shown).argmax(-1))
    return torch.stack(found, dim=1)


def misreading(mixture: Mixture) -> float:
    """A bound on the probability that ``read`` misses any symbol of a sample.

    One coordinate exceeds the one that should be largest with probability Phi(-1 / (noise * sqrt(2))), a veiled one in
    absolute value at most twice as often.
    """
    if mixture.noise == 0:
        return 0.0
    exceeds = float(torch.special.ndtr(torch.tensor(-1 / (mixture.noise * 2**0.5), dtype=torch.float64)))
    return sum(len(SLOTS) * mixture.n_classes * exceeds * (2 if m.veiled else 1) for m in mixture.modalities)


def rotation(mixture: Mixture, modality: int) -> Tensor:
    """Orthogonal (width, width) float64, the same for every sample of a modality."""
    width = mixture.widths[modality]
    rng = generator("interactions", "rotation", modality)
    q, r = torch.linalg.qr(torch.randn(width, width, generator=rng, dtype=torch.float64))
    turned: Tensor = q * r.diagonal().sign()
    return turned
