"""ROSMAP: Alzheimer's disease or not, from three omics of the same brains; the published split, and 20 others."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ._files import RawFolder, fetch

if TYPE_CHECKING:
    from torch import Tensor

    from dmil.data import Card, Splits

FAMILY, N_SPLITS = "rosmap", 20
NAMES = (FAMILY, f"{FAMILY}-split0")
GRAMMAR = f"{FAMILY}-splitN: N is 0 to {N_SPLITS - 1}, one of {N_SPLITS} random splits of all samples (suite {FAMILY})"
SPLIT = re.compile(f"{FAMILY}-split(0|[1-9][0-9]*)")

MODALITIES = {"mrna": "1", "methylation": "2", "mirna": "3"}  # as the files are numbered
N_ROWS = {"tr": 245, "te": 106}
N_FEATURES = 200
N_VALID = 49
FILES = (
    *(f"{number}_{part}.csv" for number in MODALITIES.values() for part in ("featname", "te", "tr")),
    *("README.md", "labels_te.csv", "labels_tr.csv"),
)
FOLDER = RawFolder(
    path="rosmap",
    url="https://codeload.github.com/txWang/MOGONET/tar.gz/32d9066b7fe289b3f7cdb496a5668834079c274c",
    digest="caf6d7b3caf4348a314ffc9a13fd4191f35ee5caf8d7f318099d2b7813f669c8",
    n_files=len(FILES),
    strip="ROSMAP",
    members=tuple(f"ROSMAP/{name}" for name in FILES),
)

PUBLISHED_RULE = (
    "the published 106 test samples; of the published 245 training samples 49, drawn with the shares of the classes, "
    "are validation"
)
PUBLISHED_TRAP = (
    "106 test samples: the standard error of an accuracy of 0.83 is 0.036, more than methods differ. The suite rosmap "
    "repeats the comparison over 20 splits."
)
RANDOM_TRAPS = (
    "The features were chosen with the labels of the published training samples, to which most test samples here "
    "belong: all rows are judged alike, but too well.",
    "106 test samples, and the test sets of the 20 splits overlap: their spread understates how much other patients "
    "would change.",
    "These 20 splits are easy ones: late fusion of logistic regressions has a mean of 0.828 on them and of 0.786 to "
    "0.809 on seven other draws of 20. Compare rows; the level itself says little.",
)


def canonical(name: str) -> str:
    """Raises ValueError, one line, for a name that means nothing."""
    _split(name)
    return name


def variant(name: str) -> Variant:
    """The published split (``rosmap``) or one of the others. Raises ValueError, one line, for any other name."""
    return Variant(name, _split(name))


def _split(name: str) -> int | None:
    """The number in a name, None for the published split."""
    if name == FAMILY:
        return None
    found = SPLIT.fullmatch(name)
    if found is None:
        raise ValueError(f"write {FAMILY} for the published split, or {GRAMMAR}")
    if int(found[1]) >= N_SPLITS:
        raise ValueError(f"split {found[1]} is out of range: 0 to {N_SPLITS - 1} is possible")
    return int(found[1])


@dataclass(frozen=True)
class Variant:
    """One split of the samples, with what the module of a dataset has. split: None for the published one."""

    name: str
    split: int | None

    RAW = (FOLDER,)
    LIBRARIES = ("torch", "scikit-learn")
    __file__ = __file__

    @cached_property
    def CARD(self) -> Card:  # noqa: N802, as in the module of a dataset
        from dmil.data import Card

        which = "the published split" if self.split is None else f"random split {self.split} of {N_SPLITS}"
        random_rule = (
            f"all 351 samples, drawn with the shares of the classes: 106 test (scikit-learn's StratifiedShuffleSplit, "
            f"random_state 0, split {self.split} of {N_SPLITS}); of the others {N_VALID} validation, drawn alike"
        )
        return Card(
            name=self.name,
            title=f"ROSMAP, Alzheimer's disease against control (mRNA, DNA methylation, miRNA), {which}",
            source=FOLDER.url,
            licence="MIT (repository of the features); source data: AD Knowledge Portal, under its terms of use",
            citation="Wang, Shao, Huang, Tang, Zhang, Ding, Huang: MOGONET integrates multi-omics data using graph "
            "convolutional networks allowing patient classification and biomarker identification, Nature "
            "Communications 12:3445, 2021. Data: Religious Orders Study and Rush Memory and Aging Project (ROSMAP).",
            split_rule=PUBLISHED_RULE if self.split is None else random_rule,
            preprocessing="200 features of each kind, chosen and scaled to [0, 1] by the publishers; every column "
            "standardised on the training rows and clipped to +-5",
            traps=(
                "The features were preselected by label, those of mRNA, it seems, with the test rows in view (logistic "
                "regression on mRNA: 0.743 cross-validated in training, 0.821 on the published test): every accuracy "
                "is optimistic, and mRNA looks stronger than it is.",
                *((PUBLISHED_TRAP,) if self.split is None else RANDOM_TRAPS),
                "A constant answer is right on 55 of the 106 test samples (51.9 %).",
            ),
            checksums={FOLDER.path: FOLDER.digest},
            modalities={
                "mrna": "gene expression (200)",
                "methylation": "DNA methylation (200)",
                "mirna": "microRNA expression (200)",
            },
        )

    def prepare(self, root: Path) -> Splits:
        """Raises DataError where raw files are missing or not as pinned."""
        from dmil.data import Split, Task

        from ._assemble import assemble

        fetch(self.RAW, root)
        inputs, target = read(root / FOLDER.path)
        ids = tuple(f"{part}-{i:03d}" for part, n in N_ROWS.items() for i in range(n))
        task = Task("classification", 2, ("control", "Alzheimer's disease"))
        return assemble(Split(inputs, target, ids=ids), split_rows(target, self.split), task=task, card=self.CARD)


def read(folder: Path) -> tuple[dict[str, Tensor], Tensor]:
    """Features (351, 200) of each kind and labels (351,), published training rows first. Raises DataError."""
    import torch

    from ._assemble import read_numbers
    from ._download import DataError

    def both(stem: str, n_columns: int) -> Tensor:
        parts = [read_numbers(folder / f"{stem}_{p}.csv", n_rows=n, n_columns=n_columns) for p, n in N_ROWS.items()]
        return torch.cat(parts)

    labels = both("labels", 1)[:, 0]
    if set(labels.tolist()) != {0.0, 1.0}:
        raise DataError(f"{folder}: labels must be 0 and 1, but are {sorted(set(labels.tolist()))}")
    return {name: both(number, N_FEATURES) for name, number in MODALITIES.items()}, labels.long()


def split_rows(target: Tensor, split: int | None) -> dict[str, list[int]]:
    """Rows of each split, all with the shares of the classes; the published test rows are the last ones."""
    from dmil.seeds import generator

    from ._assemble import stratified

    n, n_train = len(target), N_ROWS["tr"]
    if split is None:
        rng, train, test = generator("split", FAMILY), list(range(n_train)), list(range(n_train, n))
    else:
        rng, (train, test) = generator("split", FAMILY, split), _random_split(target, split)
    inner = stratified(target[train], {"valid": N_VALID / n_train}, rest="train", rng=rng)
    return {part: [train[i] for i in index] for part, index in inner.items()} | {"test": test}


def _random_split(target: Tensor, split: int) -> tuple[list[int], list[int]]:
    """Training and test rows of one of the 20 splits, in order."""
    from sklearn.model_selection import StratifiedShuffleSplit

    splitter = StratifiedShuffleSplit(N_SPLITS, test_size=N_ROWS["te"], random_state=0)
    train, test = list(splitter.split(target, target))[split]
    return sorted(train.tolist()), sorted(test.tolist())
