"""A user's own data: the lines of the README as a new user would take them, and what becomes of them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from benchmarks import registry
from benchmarks.errors import UserError
from benchmarks.suite import load_suite
from tests.made_checkout import Checkout
from tests.made_folder import N, edit, load, put, refused, samples_of, shown, write_pets

split = import_module("benchmarks.datasets._folder_split")


@pytest.fixture
def pets(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DMIL_CACHE", str(tmp_path / "cache"))
    return write_pets(tmp_path / "data" / "pets", shown(root)["yaml"])


def test_the_readme_needs_ten_lines(root: Path) -> None:
    assert sum(len(block.splitlines()) for block in shown(root).values()) == 10


def test_what_the_readme_shows(pets: Path) -> None:
    splits = load(pets)
    table = samples_of(pets).set_index("name")
    look = pd.read_csv(pets / "look.csv", index_col="name")
    sound = np.load(pets / "sound.npy")
    train = look.loc[list(splits.train.ids)].to_numpy()
    for part in splits.parts().values():
        own = table.loc[list(part.ids)]
        assert part.groups == tuple(own["owner"])
        assert [splits.task.class_names[k] for k in part.target] == list(own["species"])
        # joined by name, although look.csv has another order, and standardised on the training rows
        expected = (look.loc[list(part.ids)].to_numpy() - train.mean(0)) / train.std(0)
        np.testing.assert_allclose(part.inputs["look"], expected, atol=1e-5)
        exists = part.inputs["sound"][..., -1]
        assert exists.sum(1).tolist() == own["n_steps"].astype(float).tolist()
        assert (part.inputs["sound"][exists == 0] == 0).all()
    steps = {name: sound[int(name.removeprefix("pet")), : int(table.loc[name, "n_steps"])] for name in table.index}
    train_steps = np.concatenate([steps[name] for name in splits.train.ids]).astype(float)
    first = splits.test.inputs["sound"][0]
    expected = (steps[splits.test.ids[0]] - train_steps.mean(0)) / train_steps.std(0)
    np.testing.assert_allclose(first[first[:, -1] > 0][:, :-1], expected, atol=1e-5)
    owners = [set(part.groups) for part in splits.parts().values()]
    assert len(set.union(*owners)) == sum(map(len, owners)) == 24
    assert [len(part) / N for part in splits.parts().values()] == pytest.approx([0.7, 0.1, 0.2], abs=0.03)
    for part in splits.parts().values():
        assert set(part.target.tolist()) == {0, 1, 2}


def test_its_card(pets: Path) -> None:
    card = load(pets).card
    assert (card.name, card.title) == ("folder-pets", "Pets, by look and sound")
    assert card.licence == "not stated"
    assert sorted(card.checksums) == [f"pets/{f}" for f in ("card.yaml", "look.csv", "samples.csv", "sound.npy")]
    assert card.modalities == {"look": "look.csv (4)", "sound": "sound.npy (9x3)"}
    assert card.split_rule.startswith("drawn by whole groups with the shares of the classes: 0.2 test and 0.1 valid")
    assert str(pets.parent) not in str(card.to_dict())


def test_it_is_listed_and_the_leaderboard_knows_it(pets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DMIL_DATA", str(pets.parent))
    assert registry.own_names() == ["folder-pets"]
    status = registry.status("folder-pets")
    assert (str(status), status.title) == ("present, not prepared yet", "Pets, by look and sound")
    load(pets)
    assert registry.status("folder-pets").is_prepared
    assert "dmil" in load_suite("leaderboard", "folder-pets").methods
    with pytest.raises(UserError, match="did you mean 'folder-pets'"):
        registry.canonical("folders-pets")


def test_an_edited_file_is_prepared_again_and_an_untouched_one_is_not(pets: Path) -> None:
    before = load(pets)
    stored = list((pets.parents[1] / "cache" / "folder-pets").glob("*.safetensors"))
    assert load(pets).checksum() == before.checksum()
    assert list(stored[0].parent.glob("*.safetensors")) == stored
    table = (pets / "samples.csv").read_text()
    (pets / "samples.csv").write_text(table.replace("cat", "dog", 1))  # of the same size
    after = load(pets)
    assert after.checksum() != before.checksum()
    assert after.card.checksums["pets/samples.csv"] != before.card.checksums["pets/samples.csv"]


def test_a_given_split_is_kept_and_may_not_tear_a_group(pets: Path) -> None:
    table = samples_of(pets)
    number = table["owner"].str.removeprefix("owner ").astype(int)
    table["part"] = np.select([number < 3, number < 8], ["valid", "test"], "train")
    table.to_csv(pets / "samples.csv", index=False)
    edit(pets, put(split="part"))
    splits = load(pets)
    for part, found in splits.parts().items():
        assert list(found.ids) == list(table["name"][table["part"] == part])
    assert splits.card.split_rule == "as the column 'part' says"
    shutil.rmtree(pets.parents[1] / "cache")
    table.loc[table["part"].eq("test").idxmax(), "part"] = "train"
    table.to_csv(pets / "samples.csv", index=False)
    refused(pets, "a group belongs in one split")


def test_validation_is_drawn_where_a_column_says_train_and_test_only(pets: Path) -> None:
    table = samples_of(pets)
    table["part"] = np.where(table["owner"].isin(["owner 1", "owner 2", "owner 3"]), "test", "train")
    table.to_csv(pets / "samples.csv", index=False)
    edit(pets, put(split="part"))
    refused(pets, "column 'part' names no valid samples; to draw some")
    edit(pets, put(split={"column": "part", "valid": 0.2, "test": 0.2}))
    refused(pets, "column 'part' names test samples, so split must not draw any")
    edit(pets, put(split={"column": "part", "valid": 0.2}))
    splits = load(pets)
    assert set(splits.test.groups) == {"owner 1", "owner 2", "owner 3"}
    assert 0.1 < len(splits.valid) / (len(splits.train) + len(splits.valid)) < 0.3
    assert not set(splits.valid.groups) & set(splits.train.groups)


def test_a_class_that_only_the_given_test_samples_have_is_refused(pets: Path) -> None:
    table = samples_of(pets)
    table["part"] = np.where(table["species"] == "eel", "test", "train")
    table.to_csv(pets / "samples.csv", index=False)
    edit(pets, put(split={"column": "part", "valid": 0.2}, group=None))
    refused(pets, "no training sample has species 'eel'")
    table["owner"] = table["owner"] + table["part"]
    table.to_csv(pets / "samples.csv", index=False)
    edit(pets, put(group="owner"))
    refused(pets, "no training sample has species 'eel'")


def test_another_seed_is_another_split(pets: Path) -> None:
    first = load(pets)
    edit(pets, put(split={"seed": 1}))
    assert set(load(pets).test.groups) != set(first.test.groups)


def test_groups_are_drawn_to_their_shares_by_hand() -> None:
    """Ten groups of ten, five of which hold both classes and five one alone: a fifth of each class is two groups."""
    labels = torch.tensor([0, 1] * 25 + [0] * 30 + [1] * 20)
    groups = [f"g{i // 10}" for i in range(100)]
    rng = torch.Generator().manual_seed(0)
    rows = split._balanced_groups(Path("t"), labels, groups, {"test": 0.2, "valid": 0.1}, rng)
    assert {part: len(index) for part, index in rows.items()} == {"test": 20, "valid": 10, "train": 70}
    assert sorted(i for index in rows.values() for i in index) == list(range(100))
    assert all(len({groups[i] for i in index}) == len(index) / 10 for index in rows.values())
    assert 9 <= int(labels[rows["test"]].sum()) <= 10  # of 45 ones in all 9 are a fifth


def test_a_regression(pets: Path) -> None:
    table = samples_of(pets)
    table["weight"] = [f"{5000 + 100 * i}" for i in range(N)]
    table.to_csv(pets / "samples.csv", index=False)
    edit(pets, put(target="weight", task="regression", group=None))
    splits = load(pets)
    assert splits.task.kind == "regression"
    weights = torch.tensor([5000.0 + 100 * int(name.removeprefix("pet")) for name in splits.train.ids])
    expected = (weights - weights.mean()) / weights.std(correction=0)
    torch.testing.assert_close(splits.train.target, expected, atol=1e-5, rtol=0)
    assert f"divided by its deviation {weights.double().std(correction=0):.6g}" in splits.card.preprocessing
    assert [len(part) for part in splits.parts().values()] == [84, 12, 24]


def test_images_clips_and_long_tables(pets: Path) -> None:
    """8-bit images stay as they are, whatever the order of axes; steps of a table belong to the ids they carry."""
    rng = np.random.default_rng(1)
    grey, colour = (rng.integers(0, 256, shape, dtype="uint8") for shape in ((N, 8, 6), (N, 8, 6, 3)))
    clip = rng.integers(0, 256, (N, 2, 3, 8, 6), dtype="uint8")
    spectrum = rng.normal(5, 3, (N, 1, 8, 6))
    arrays: dict[str, Any] = {"grey": grey, "colour": colour, "clip": clip, "spectrum": spectrum}
    for name, x in arrays.items():
        np.save(pets / f"{name}.npy", x)
    steps = pd.DataFrame({"name": [f"pet{i % N}" for i in range(3 * N)], "x": np.arange(3.0 * N), "y": 1.0})
    steps.iloc[1:].to_parquet(pets / "steps.parquet")
    edit(pets, put(modalities={
        "grey": "grey.npy",
        "colour": {"file": "colour.npy", "channels_last": True},
        "clip": "clip.npy",
        "spectrum": "spectrum.npy",
        "steps": {"file": "steps.parquet", "kind": "sequence", "steps": 2, "about": "a walk"},
    }))  # fmt: skip
    splits = load(pets)
    at = int(splits.train.ids[3].removeprefix("pet"))
    x = {name: tensor[3].numpy() for name, tensor in splits.train.inputs.items()}
    assert (x["grey"] == grey[at][None]).all()
    assert (x["colour"] == colour[at].transpose(2, 0, 1)).all()
    assert (x["clip"] == clip[at]).all()
    assert float(splits.train.inputs["spectrum"].std()) == pytest.approx(1, abs=0.01)
    everyone = torch.cat([part.inputs["steps"] for part in splits.parts().values()])
    assert everyone.shape == (N, 2, 3)
    assert (everyone[..., -1] == 1).all()  # three steps, or two of the first pet, are two
    assert (everyone[..., 1] == 0).all()  # a constant
    assert (everyone[:, 1, 0] > everyone[:, 0, 0]).all()
    assert splits.card.modalities["steps"] == "a walk (2x3)"
    np.save(pets / "colour.npy", np.zeros((N, 32, 32, 3), dtype="uint8"))
    edit(pets, lambda card: card["modalities"].update(colour="colour.npy"))
    with pytest.raises(UserError, match="if channels come last, say `channels_last: true`"):
        load(pets)


@pytest.mark.slow
def test_the_lines_of_the_readme_end_in_a_report(root: Path, tmp_path: Path) -> None:
    """As a new user types them, in a checkout whose environment is this one; with fewer methods, seeds and epochs."""
    checkout = Checkout(root, tmp_path / "checkout")
    shutil.copy(root / "Makefile", checkout.folder)
    shutil.copytree(root / ".ci", checkout.folder / ".ci")
    for name in ("constraints.txt", "pyproject.toml"):
        shutil.copy(root / name, checkout.folder)
    python = checkout.folder / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    (checkout.folder / ".venv" / ".complete").touch()
    write_pets(checkout.folder / "data" / "pets", shown(root)["yaml"])
    (command,) = shown(root)["sh"].splitlines()
    clean = {k: v for k, v in checkout.environment.items() if not k.startswith(("MAKE", "DMIL_DATA", "MFLAGS"))}
    clean |= {"METHODS": "joint,dmil", "SEEDS": "2", "EPOCHS": "6", "DMIL_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(
        command.split("#")[0], shell=True, cwd=checkout.folder, env=clean, capture_output=True, text=True, timeout=250
    )
    assert done.returncode == 0, done.stdout + done.stderr
    table = pd.read_csv(checkout.folder / "reports/out/folder-pets/leaderboard.csv")
    assert {"joint", "dmil"} <= set(table["method"])
    assert table["test_acc_mean"][table["method"] == "joint"].item() > 0.6
    assert "Pets, by look and sound" in (checkout.folder / "reports/out/folder-pets/index.html").read_text()
    names = sorted(path.name for path in (checkout.folder / "data" / "pets").iterdir())
    assert names == ["card.yaml", "look.csv", "samples.csv", "sound.npy"]
