"""A known truth: each sample is redundant, unique or synergistic, and the best possible results are computed exactly.

Each of M = 2 or 3 modalities shows one symbol in each of three slots R, U, S: one of C classes, or "silent". A sample
has a label y and a composition: ``r`` (all R slots carry y), ``u1`` .. ``uM`` (the U slot of one modality does), ``s``
(the S slots carry a_1 .. a_M with a_1 + .. + a_M = y mod C, any M - 1 of them independent of y). A carrying slot shows
another class with the probability ``flip`` of its modality; any other slot is silent, or shows a random class with
probability ``distract``. A family of datasets: ``_mixture_names`` says how a name becomes a mixture.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ._mixture import Mixture
from ._mixture_names import GRAMMAR, NAMES, Recipe, build, canonical, parse

if TYPE_CHECKING:
    from dmil.data import Card, Split, Splits

__all__ = ["GRAMMAR", "NAMES", "Variant", "canonical", "variant"]

N_VALID, N_TEST = 1000, 4000
CITATION = "This suite. The sample-wise mixture follows the question of Yang et al., CVPR 2026, arXiv 2606.11614."


def variant(name: str) -> Variant:
    """The dataset that ``name`` means. Raises ValueError, one line, for a name that means nothing."""
    return Variant(canonical(name), parse(name))


@dataclass(frozen=True)
class Variant:
    """One mixture, with what the module of a dataset has."""

    name: str
    recipe: Recipe

    RAW = ()
    LIBRARIES = ("torch",)
    __file__ = __file__

    @property
    def mixture(self) -> Mixture:
        return build(self.recipe)

    @cached_property
    def CARD(self) -> Card:  # noqa: N802, as in the module of a dataset
        from dmil.data import Card

        from ._mixture_exact import exact

        mixture = self.mixture
        best = exact(mixture)
        shown = {True: "three noisy one-hot slots with random signs", False: "three noisy one-hot slots"}
        return Card(
            name=self.name,
            title=f"Known interactions: {_in_words(self.recipe)}",
            source="generated; datasets/interactions.py",
            licence="MIT, like the code",
            citation=CITATION,
            split_rule="independent draws from the same distribution",
            preprocessing="none",
            traps=tuple(_traps(mixture)),
            modalities={
                name: f"{shown[modality.veiled]} and nuisance, rotated ({width})"
                for name, modality, width in zip(mixture.input_names, mixture.modalities, mixture.widths, strict=True)
            },
            truth_names=mixture.truth_names,
            bayes_accuracy=best.accuracy,
            bayes_attribution=best.attribution,
            bayes_accuracy_by_truth={
                name: accuracy
                for name, accuracy, weight in zip(mixture.truth_names, best.accuracies, mixture.weights, strict=True)
                if weight
            },
        )

    def prepare(self, root: Path) -> Splits:
        """Independent splits; reads nothing below ``root``."""
        from dmil.data import Splits, Task

        mixture = self.mixture
        sizes = {"train": mixture.n_train, "valid": N_VALID, "test": N_TEST}
        parts = {part: _split(mixture, part, n) for part, n in sizes.items()}
        names = tuple(str(label) for label in range(mixture.n_classes))
        task = Task("classification", mixture.n_classes, names)
        return Splits(parts["train"], parts["valid"], parts["test"], task, self.CARD)


def _split(mixture: Mixture, part: str, n: int) -> Split:
    from dmil.data import Split
    from dmil.seeds import generator

    from ._mixture_draw import observe, sample

    symbols, label, composition = sample(mixture, n, generator("interactions", "symbols", part))
    inputs = observe(mixture, symbols, generator("interactions", "noise", part))
    ids = tuple(f"{part}-{i:05d}" for i in range(n))
    return Split(inputs, label, ids=ids, truth=composition)


def _in_words(recipe: Recipe) -> str:
    """The mixture and every setting that is not the ordinary one."""
    kinds = ("unique", "redundant", "synergistic")
    if recipe.shares is None:
        parts = ["an equal mixture of redundant, unique and synergistic samples"]
    else:
        shares = [(kind, share) for kind, share in zip(kinds, recipe.shares, strict=True) if share]
        only = f"{shares[0][0]} samples only"
        parts = [only if len(shares) == 1 else ", ".join(f"{share} % {kind}" for kind, share in shares) + " samples"]
    ordinary = Recipe()
    words = {
        "n_modalities": "three modalities",
        "n_classes": f"{recipe.n_classes} classes",
        "n_train": f"{recipe.n_train} training samples",
        "unequal": "x1 easy but less reliable, x2 hard but more reliable",
        "distract": f"idle slots distract in {recipe.distract} %" if recipe.distract else "idle slots silent",
        "flip": f"slots wrong in {recipe.flip} %",
        "noise": f"noise {recipe.noise / 100}",
    }
    parts += [text for field, text in words.items() if getattr(recipe, field) != getattr(ordinary, field)]
    return "; ".join(parts)


def _traps(mixture: Mixture) -> list[str]:
    from ._mixture_draw import misreading

    traps = [
        f"No method can be better than the Bayes accuracy but by chance: with {N_TEST} test samples the standard error "
        "is about 0.4 points."
    ]
    if mixture.weights[-1]:
        traps.append("A model that does not see every modality cannot read synergistic samples at all.")
    if max(mixture.weights) == 1:
        traps.append("There is one composition only: attribution is right whatever the sample.")
    veiled = [name for name, m in zip(mixture.input_names, mixture.modalities, strict=True) if m.veiled]
    if veiled:
        flips = ", ".join(
            f"{name} {m.flip:.0%}" for name, m in zip(mixture.input_names, mixture.modalities, strict=True)
        )
        traps.append(
            f"The modalities are unequal: a carrying slot is wrong in {flips}, but {', '.join(veiled)} cannot be read "
            "by a linear map and is learned late; training that stops with the easy modality misses what is reliable."
        )
    missed = misreading(mixture)
    if missed > 1e-4:
        traps.append(f"The limits are those of the symbols; noise hides at least one in up to {missed:.2%} of samples.")
    return traps
