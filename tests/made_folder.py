"""The data of someone who has some: the folder that the README describes, and ways to change it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from benchmarks import registry
from benchmarks.errors import UserError
from dmil.data import Splits

N, STEPS, SPECIES = 120, 9, ("cat", "dog", "eel")
Edit = Callable[[dict[str, Any]], None]


def shown(root: Path) -> dict[str, str]:
    """The card and the command that the README shows under `Your own data`, by the language of their blocks."""
    section = (root / "README.md").read_text().split("## Your own data\n")[1].split("\n## ")[0]
    return dict(re.findall(r"```(\w+)\n(.*?)```", section, flags=re.S))


def write_pets(place: Path, card: str) -> Path:
    """The files that the README's card names: who is a cat looks and sounds like 0, a dog like 1, an eel like 2."""
    place.mkdir(parents=True)
    rng = np.random.default_rng(0)
    kind, owner = rng.integers(0, 3, N), rng.integers(0, 24, N)
    names = [f"pet{i}" for i in range(N)]
    table = {"name": names, "species": [SPECIES[k] for k in kind], "owner": [f"owner {o}" for o in owner]}
    steps = rng.integers(1, STEPS + 1, N)
    pd.DataFrame(table | {"n_steps": steps}).to_csv(place / "samples.csv", index=False)
    look = pd.DataFrame(kind[:, None] + rng.normal(size=(N, 4)), columns=["a", "b", "c", "d"])
    look.insert(0, "name", names)
    look.sample(frac=1, random_state=0).to_csv(place / "look.csv", index=False)
    sound = kind[:, None, None] + rng.normal(size=(N, STEPS, 2)).astype("float32")
    sound[np.arange(STEPS) >= steps[:, None]] = np.nan  # whatever stands beyond a sample's length is not looked at
    np.save(place / "sound.npy", sound)
    (place / "card.yaml").write_text(card)
    return place


def edit(place: Path, change: Edit) -> None:
    card = yaml.safe_load((place / "card.yaml").read_text())
    change(card)
    (place / "card.yaml").write_text(yaml.safe_dump(card))


def load(place: Path) -> Splits:
    return registry.load_dataset(f"folder-{place.name}", root=place.parent)


def samples_of(place: Path) -> pd.DataFrame:
    return pd.read_csv(place / "samples.csv", dtype=str)


def put(**values: Any) -> Edit:
    """A change of the card; None takes a key out."""

    def change(card: dict[str, Any]) -> None:
        for key, value in values.items():
            where = card if key in card or key not in ("look", "sound") else card["modalities"]
            where[key] = value
            if value is None:
                del where[key]

    return change


def refused(place: Path, message: str) -> None:
    with pytest.raises(UserError) as error:
        load(place)
    assert message in str(error.value)
    assert str(error.value).startswith(f"dataset folder-pets: {place}")
    assert "\n" not in str(error.value)
    assert not list((place.parents[1] / "cache").rglob("*.safetensors"))
