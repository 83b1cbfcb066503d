"""CMU-MOSI and CMU-MOSEI from small files in the layout of the real ones: names, sequences, splits, refusals."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import registry
from benchmarks.errors import UserError
from dmil.data import Splits
from tests.made_affect import CORPORA, N_STEPS, SIZES, made_content, write
from tests.made_pickles import files

mosei = import_module("benchmarks.datasets.mosei")
mosi = import_module("benchmarks.datasets.mosi_sequences")
_affect_rows = import_module("benchmarks.datasets._affect_rows")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DMIL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def root(tmp_path: Path, cache: Path) -> Path:
    write(tmp_path / "data", made_content())
    return tmp_path / "data"


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ("mosei", "mosei"),
        ("mosei-aligned", "mosei"),
        ("mosei-regression-vt", "mosei-vt-regression"),
        ("mosei-nonzero-vt-unaligned", "mosei-unaligned-vt-nonzero"),
        ("mosi", "mosi"),
        ("mosi-acl2017", "mosi-acl2017"),
        ("mosi-aligned", "mosi-aligned"),
        ("mosi-vt", "mosi-aligned-vt"),
        ("mosi-unaligned-regression", "mosi-unaligned-regression"),
    ],
)
def test_names(asked: str, name: str) -> None:
    assert registry.canonical(asked) == registry.canonical(name) == name
    assert registry.status(name).name == name


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("mosei-algned", "cannot read 'algned', did you mean 'aligned'?"),
        ("mosi-av", "cannot read 'av'"),
        ("mosei-aligned-unaligned", "'aligned' and 'unaligned' say different things"),
        ("mosei-nonzero-regression", "'nonzero' and 'regression' say different things"),
        ("moosei", "did you mean 'mosei'"),
    ],
)
def test_a_name_that_means_nothing_is_one_line(asked: str, message: str) -> None:
    with pytest.raises(UserError) as error:
        registry.canonical(asked)
    assert message in str(error.value)
    assert str(error.value).count("mosi,") <= 1


@pytest.mark.parametrize("family", [mosei, mosi])
def test_named_variants_are_canonical(family: Any) -> None:
    for name in family.NAMES:
        assert family.canonical(name) == name
        assert name in registry.names()
        card = family.variant(name).CARD
        assert card.name == name
        assert card.warning is None
        assert all((card.title, card.source, card.licence, card.citation, card.split_rule, card.preprocessing))


@pytest.mark.parametrize("alignment", ["aligned", "unaligned"])
@pytest.mark.parametrize("corpus", CORPORA)
def test_sequences(corpus: str, alignment: str, tmp_path: Path, cache: Path) -> None:
    """Both corpora, both files: shapes, steps that exist, and scaling over those of training alone."""
    content = made_content(corpus, alignment)
    write(tmp_path, content, corpus, alignment)
    splits = registry.load_dataset(f"{CORPORA[corpus].name}-{alignment}", root=tmp_path)
    widths = dict(CORPORA[corpus].widths)
    for part, split in splits.parts().items():
        assert split.ids == tuple(content[part]["id"])
        assert set(split.groups) == {f"{part}-video{i}" for i in range(SIZES[part] // 3)}
        for m, x in split.inputs.items():
            assert x.shape == (SIZES[part], N_STEPS[alignment][m], widths[m] + 1)
            assert x.dtype == torch.float32
            assert x.isfinite().all()
            assert set(x[..., -1].unique().tolist()) <= {0, 1}
            assert (x[x[..., -1] == 0] == 0).all()
        exists = {m: x[..., -1] for m, x in split.inputs.items()}
        assert exists["text"].tolist() == content[part]["text_bert"][:, 1].tolist()
        assert exists["vision"][0].sum() == exists["vision"][1, 1] == exists["audio"][2, 1] == 0
        assert exists["audio"][2, 0] == 1
    for x in splits.train.inputs.values():
        steps = x[x[..., -1] == 1][:, :-1].double()
        unclipped = steps.abs().amax(0) < 5
        assert unclipped.any()
        assert steps[:, unclipped].mean(0).abs().max() < 1e-5
        torch.testing.assert_close(steps[:, unclipped].std(0, correction=0), torch.ones(int(unclipped.sum())).double())


def test_values_by_hand(root: Path) -> None:
    """-inf counts as 0, in the mean of training too; the feature is scaled with training's mean and deviation."""
    content = made_content()
    splits = registry.load_dataset("mosei", root=root)
    audio = {part: np.where(np.isfinite(x["audio"]), x["audio"], 0).astype("f8") for part, x in content.items()}
    steps = audio["train"][(audio["train"] != 0).any(-1)]
    for part in SIZES:
        expected = (audio[part] - steps.mean(0)) / steps.std(0)
        expected[(audio[part] == 0).all(-1)] = 0
        found = splits.parts()[part].inputs["audio"][..., :-1]
        torch.testing.assert_close(found, torch.from_numpy(expected.clip(-5, 5)).float())
    assert audio["train"][2, 0, 1] == 0 != steps.mean(0)[1]


def test_what_is_asked_of_the_score(root: Path) -> None:
    scores = torch.from_numpy(made_content()["test"]["regression_labels"])
    whole, nonzero, value = (registry.load_dataset(f"mosei{o}", root=root) for o in ("", "-nonzero", "-regression"))
    assert whole.test.target.tolist() == [0, 0, 1, 1, 1, 1, 0, 0, 1]
    assert whole.task.class_names == ("negative", "non-negative")
    assert nonzero.test.target.tolist() == [0, 0, 1, 1, 1, 0, 0]
    assert nonzero.task.class_names == ("negative", "positive")
    kept = scores.nonzero().flatten()
    assert nonzero.test.ids == tuple(whole.test.ids[i] for i in kept)
    for m in whole.test.inputs:
        assert torch.equal(nonzero.test.expanded(m), whole.test.inputs[m][kept])
    assert torch.equal(value.test.target, scores)
    assert value.task.kind == "regression"
    assert "acc7" in value.task.metrics


def test_two_modalities(root: Path) -> None:
    whole, pair = registry.load_dataset("mosei", root=root), registry.load_dataset("mosei-vt", root=root)
    assert list(pair.train.inputs) == list(pair.card.modalities) == ["text", "vision"]
    assert all(f"({d})" in pair.card.modalities[m] for m, d in pair.train.dims.items())
    assert torch.equal(pair.test.inputs["vision"], whole.test.inputs["vision"])


def test_variants_share_their_arrays_and_survive_the_cache(root: Path, cache: Path) -> None:
    first = registry.load_dataset("mosei-vt", root=root)
    arrays = [path for path in cache.rglob("*.npy") if not path.parent.is_symlink()]
    assert len(arrays) == 9
    registry.load_dataset("mosei-regression", root=root)
    assert len([path for path in cache.rglob("*.npy") if not path.parent.is_symlink()]) == 9
    again = registry.load_dataset("mosei-vt", root=root / "nowhere")
    assert again.checksum() == first.checksum()
    assert again.card == first.card
    assert torch.equal(again.test.inputs["text"], first.test.inputs["text"])


def test_another_file_of_the_same_size_is_not_mixed_in(root: Path) -> None:
    first = registry.load_dataset("mosei", root=root)
    before = first.train.inputs["audio"].clone()
    content = made_content()
    content["train"]["audio"][content["train"]["audio"] != 0] *= -1
    write(root, content)
    other = registry.load_dataset("mosei-vt-regression", root=root)
    assert other.card.checksums != first.card.checksums
    again = registry.load_dataset("mosei", root=root)
    assert again.card == first.card
    assert torch.equal(again.train.inputs["audio"], before)


def test_preparing_twice_gives_the_same_bytes(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checksums = set()
    for name in ("one", "two"):
        monkeypatch.setenv("DMIL_CACHE", str(root / name))
        checksums.add(registry.load_dataset("mosei-nonzero", root=root).checksum())
    assert len(checksums) == 1


def test_the_card_says_which_file_it_was(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = "MOSEI/Processed/aligned_50.pkl"
    card = registry.load_dataset("mosei", root=root).card
    found = files.file_sha256(root / path)
    assert card.checksums == {path: found}
    assert card.warning is not None
    assert found in card.warning
    monkeypatch.setitem(mosei.CORPUS.checksums, "aligned", found)
    monkeypatch.setenv("DMIL_CACHE", str(root / "other"))
    assert registry.load_dataset("mosei", root=root).card.warning is None


def test_what_was_said(root: Path, tmp_path: Path) -> None:
    texts = registry.describe("mosei-vt", root=root)
    assert texts is not None
    assert texts["test-video1$_$2"] == "WORDS OF test 5"
    assert len(texts) == sum(SIZES.values())
    assert registry.describe("mosei", root=tmp_path) == {}


def test_constant_features_and_missing_modalities_are_no_trouble() -> None:
    """Deviation 0 gives scale 0; a modality without any step gives means of 0."""
    part = _affect_rows.Part(
        ids=("a$_$0",), scores=(0.0,), texts=("",), words=np.array([[True, False]]),
        features={"text": np.array([[[2.0, 1], [9, 9]]]), "audio": np.zeros((1, 3, 2))},
    )  # fmt: skip
    found = _affect_rows.moments(part)
    assert [x.tolist() for x in found["text"]] == [[2, 1], [0, 0]]
    assert [x.tolist() for x in found["audio"]] == [[0, 0], [0, 0]]


def test_rows_keep_the_splits_apart(root: Path) -> None:
    """Statistics are of training rows: other validation and test rows change nothing in training."""
    first: Splits = registry.load_dataset("mosei", root=root)
    content = made_content()
    for part in ("valid", "test"):
        content[part]["audio"] *= 7
    path = write(root, content)
    assert path.stat().st_size > 0
    second = mosei.variant("mosei").prepare(root, root / "cache" / "mosei" / "changed")
    assert torch.equal(second.train.inputs["audio"], first.train.inputs["audio"])
    assert not torch.equal(second.test.inputs["audio"], first.test.inputs["audio"])
    assert replace(second.card, checksums={}, warning=None) == replace(first.card, checksums={}, warning=None)
