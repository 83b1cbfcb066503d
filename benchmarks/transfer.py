"""Out of distribution: a representation is learned on some classes, and a linear probe tells the others apart with it.

The probe is multinomial logistic regression on the frozen representation. It is fitted on the training samples of the
other classes, its penalty is chosen on their validation samples, and their test samples are touched once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from benchmarks.errors import UserError
from dmil.data import Card, Split, Splits, Task
from dmil.interactions.probe import fit_probe
from dmil.method import Method, Output
from dmil.seeds import generator
from dmil.train import predict

LEAST = 2  # classes that each side needs


@dataclass(frozen=True)
class Transfer:
    """Two disjoint sets of class indices, sorted, that together are all classes of a task."""

    train_classes: tuple[int, ...]
    probe_classes: tuple[int, ...]

    @classmethod
    def choose(cls, wanted: Any, splits: Splits) -> Transfer:
        """wanted: the share of classes to learn on, drawn once for each dataset, or a list of their indices or names.

        Raises:
            UserError: no classes to divide, a share or list that leaves a side fewer than two, or a side without data.
        """
        task, name = splits.task, splits.card.name
        if task.kind != "classification":
            raise UserError(f"transfer divides classes, but the task of {name} is a {task.kind}")
        n = task.n_classes
        if isinstance(wanted, list):
            train = sorted(_class_index(entry, splits) for entry in wanted)
        elif isinstance(wanted, float) and 0 < wanted < 1:
            train = torch.randperm(n, generator=generator("transfer", name))[: round(wanted * n)].sort().values.tolist()
        else:
            raise UserError(f"train_classes must be a share between 0 and 1 or a list of classes, but got {wanted!r}")
        probe = [c for c in range(n) if c not in train]
        if len(set(train)) < len(train) or min(len(train), len(probe)) < LEAST:
            raise UserError(
                f"train_classes {wanted!r} makes {len(set(train))} of the {n} classes of {name} those to learn on; "
                f"each side needs {LEAST} or more, none named twice"
            )
        chosen = cls(tuple(train), tuple(probe))
        for side in (chosen.train_classes, chosen.probe_classes):
            for part, split in splits.parts().items():
                if not len(only_classes(split, side)):
                    raise UserError(f"{name} has no {part} sample of the classes {', '.join(map(str, side))}")
        return chosen

    def source(self, splits: Splits) -> tuple[Split, Split, Task]:
        """What the representation is learned from: training and validation samples of its classes, and their task."""
        parts = [only_classes(split, self.train_classes) for split in (splits.train, splits.valid)]
        return parts[0], parts[1], _task(splits.task, self.train_classes)

    def target(self, splits: Splits) -> Splits:
        """The other classes, as a task of their own."""
        parts = {name: only_classes(split, self.probe_classes) for name, split in splits.parts().items()}
        task = _task(splits.task, self.probe_classes)
        return Splits(parts["train"], parts["valid"], parts["test"], task, self.card(splits.card))

    def card(self, card: Card) -> Card:
        """The card of the dataset as it is used here."""
        learned, probed = (", ".join(map(str, side)) for side in (self.train_classes, self.probe_classes))
        rule = f"{card.split_rule}; representation learned on classes {learned}, linear probe on classes {probed}"
        return replace(card, split_rule=rule, bayes_accuracy=None, bayes_attribution=None, bayes_accuracy_by_truth={})


def probe(method: Method, target: Splits) -> list[Output]:
    """Log probabilities (float64) of the probe of one trained method, on the validation and the test split."""
    train, valid, test = (_representation(method, split) for split in target.parts().values())
    fitted = fit_probe(train, target.train.target, target.task.n_classes, valid=(valid, target.valid.target))
    return [Output(fitted.log_prob(x)) for x in (valid, test)]


def _representation(method: Method, split: Split) -> Tensor:
    found = predict(method, split, representation=True).representation
    assert found is not None, f"{type(method).__name__} says that it has a representation"
    return found


def only_classes(split: Split, classes: Sequence[int]) -> Split:
    """The samples of some classes, in order; the label becomes the position of its class in ``classes``."""
    kept = [i for i, label in enumerate(split.target.tolist()) if label in classes]
    found = split.take(torch.tensor(kept, dtype=torch.long))
    position = {label: index for index, label in enumerate(classes)}
    return replace(found, target=torch.tensor([position[label] for label in found.target.tolist()], dtype=torch.long))


def _task(task: Task, classes: Sequence[int]) -> Task:
    names = tuple(task.class_names[c] for c in classes) if task.class_names else ()
    return Task(n_classes=len(classes), class_names=names)


def _class_index(entry: Any, splits: Splits) -> int:
    """An entry of a list of classes as an index. Raises UserError where there is no such class."""
    names = splits.task.class_names
    if entry in names:
        return names.index(entry)
    if type(entry) is int and 0 <= entry < splits.task.n_classes:
        return entry
    known = f"0 to {splits.task.n_classes - 1}" + (f" or {', '.join(names)}" if names else "")
    raise UserError(f"unknown class of {splits.card.name}: {entry!r}; known: {known}")
