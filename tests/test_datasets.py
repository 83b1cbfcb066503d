"""Contract of every dataset, and what is particular to each, on the real files."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import registry
from benchmarks.errors import UserError
from benchmarks.listing import listing
from dmil.data import Split, Splits, Task

Require = Callable[[Path], Path]

_assemble = import_module("benchmarks.datasets._assemble")
_mosi = import_module("benchmarks.datasets._mosi")
files = import_module("benchmarks.datasets._files")
utd_mhad = import_module("benchmarks.datasets.utd_mhad")


def loader(name: str) -> Any:
    if name in registry.DATASETS:
        return import_module(f"benchmarks.datasets.{registry.DATASETS[name]}")
    return registry.family(name.partition("-")[0]).variant(name)


# Large media, decoded from what the user has on disk, have tests of their own, on small trees in the same layout.
WHOLE = [name for name in registry.names() if not getattr(loader(name), "STREAMED", False)]


@pytest.fixture(params=[*WHOLE, "interactions-mixed-3m-c4-n500-unequal", "rosmap-split19"])
def name(request: pytest.FixtureRequest, data_root: Path) -> str:
    """Each dataset that is read whole and whose raw files are there."""
    dataset: str = request.param
    if missing := registry.status(dataset, root=data_root).missing:
        pytest.skip(f"{dataset}: {', '.join(missing)} not below {data_root}")
    return dataset


@pytest.fixture
def mosi_root(data_root: Path, require: Require) -> Path:
    require(data_root / "mosi" / "transcripts.csv")
    return data_root


def test_contract(name: str) -> None:
    splits = registry.load_dataset(name)
    parts = splits.parts()
    ids = [i for split in parts.values() for i in split.ids]
    assert len(ids) == len(set(ids)) == sum(map(len, parts.values()))
    groups = [set(split.groups) for split in parts.values()]
    assert len(set.union(*groups)) == sum(map(len, groups))
    assert len({tuple(split.dims.items()) for split in parts.values()}) == 1
    for split in parts.values():
        assert split.target.dtype == torch.int64
        assert set(split.target.tolist()) == set(range(splits.task.n_classes))
        for x in split.inputs.values():
            assert x.dtype in (torch.float32, torch.int64, torch.uint8)  # tokens, pixels
            assert x.isfinite().all()
            assert x.is_contiguous()
    card = splits.card
    assert card.name == name
    texts = (card.title, card.source, card.licence, card.citation, card.split_rule, card.preprocessing, *card.traps)
    assert all(text.strip() for text in texts)
    assert card.traps
    assert list(card.modalities) == list(splits.train.inputs)
    assert all(f"({shape[0]})" in card.modalities[m] for m, shape in splits.train.shapes.items() if len(shape) == 1)
    raw_paths = {raw.path for raw in loader(name).RAW}
    assert raw_paths == {path if path in raw_paths else path.split("/")[0] for path in card.checksums}


def test_preparing_twice_gives_the_same_bytes(name: str, data_root: Path) -> None:
    first, second = (loader(name).prepare(data_root).checksum() for _ in range(2))
    assert first == second == registry.load_dataset(name).checksum()


@pytest.mark.parametrize(
    "dataset", ["digits", "mosi", "mosi-acl2017", "utd_mhad", "mex", "rosmap", "rosmap-split3", "avdigits-mixed"]
)
def test_columns_are_standardised_on_the_training_rows_alone(dataset: str, data_root: Path) -> None:
    if registry.status(dataset, root=data_root).missing:
        pytest.skip(f"{dataset}: raw files not below {data_root}")
    splits = registry.load_dataset(dataset)
    for modality, x in splits.train.inputs.items():
        x = x.double()
        unclipped = x.abs().amax(0) < 5
        varying = unclipped & (x.amax(0) > x.amin(0))
        assert varying.any()
        assert x[:, unclipped].mean(0).abs().max() < 1e-6
        torch.testing.assert_close(x[:, varying].std(0, correction=0), torch.ones(int(varying.sum())).double())
        assert (x[:, ~varying & unclipped] == 0).all()
        for split in splits.parts().values():
            assert split.inputs[modality].abs().max() <= 5
        assert splits.valid.inputs[modality].double().mean(0)[varying].abs().max() > 0.01


def test_assembling_by_hand() -> None:
    """Columns: deviation 2, constant, constant in training only, one outlier, and one of rounding noise."""
    column = torch.tensor([-2.0, 2, 2, -2] * 25 + [4, 1e6], dtype=torch.float64)
    outlier = torch.zeros(102, dtype=torch.float64)
    outlier[0] = 100
    late = torch.tensor([7.0] * 100 + [8, 9], dtype=torch.float64)
    x = torch.stack([column + 3, torch.full_like(late, 5), late, outlier, 1e-9 * column], dim=1)
    samples = Split({"m": x}, torch.arange(102), ids=tuple(map(str, range(102))), groups=("g",) * 102)
    rows = {"train": range(100), "valid": [100], "test": [101]}
    splits = _assemble.assemble(samples, rows, task=Task(), card=loader("digits").CARD)
    assert splits.train.inputs["m"][:4, 0].tolist() == [-1, 1, 1, -1]
    assert splits.train.inputs["m"][:, [1, 2, 4]].abs().max() == 0
    assert splits.valid.inputs["m"].tolist() == [[2, 0, 0, pytest.approx(-1 / 99**0.5), 0]]
    assert splits.test.inputs["m"].tolist() == [[5, 0, 0, pytest.approx(-1 / 99**0.5), 0]]
    assert splits.train.inputs["m"][0, 3] == 5  # the outlier lies 9.9 deviations out
    assert (splits.test.target.tolist(), splits.test.ids, splits.test.groups) == ([101], ("101",), ("g",))


def class_counts(split: Split) -> list[int]:
    counts: list[int] = split.target.bincount().tolist()
    return counts


@pytest.mark.parametrize("dataset", ["mosi", "mosi-acl2017"])
def test_mosi_counts(dataset: str, mosi_root: Path) -> None:
    splits = registry.load_dataset(dataset)
    assert class_counts(splits.test) == [285, 467]  # the constant "positive" scores 467 of 752
    train, valid = class_counts(splits.train), class_counts(splits.valid)
    assert [a + b for a, b in zip(train, valid, strict=True)] == [738, 709]
    assert [len(set(split.groups)) for split in splits.parts().values()] == [50, 12, 31]
    assert 0.18 < len(splits.valid) / 1447 < 0.22
    assert abs(valid[1] / len(splits.valid) - 709 / 1447) < 0.02


def test_both_mosi_variants_share_samples_and_audio(mosi_root: Path) -> None:
    ours, published = registry.load_dataset("mosi"), registry.load_dataset("mosi-acl2017")
    for a, b in zip(ours.parts().values(), published.parts().values(), strict=True):
        assert (a.ids, a.groups) == (b.ids, b.groups)
        assert torch.equal(a.inputs["audio"], b.inputs["audio"])
    assert ours.train.dims == {"text": 384, "audio": 73}
    assert published.train.dims == {"text": 100, "audio": 73, "video": 100}
    assert ours.card.warning is None
    assert published.card.warning is not None
    assert "0.91 / 0.52" in published.card.warning


def test_mosi_text_is_the_transcript_and_honest(mosi_root: Path) -> None:
    """Logistic regression reaches on test what it reaches on validation, about 0.79 (0.76 to 0.81)."""
    from sklearn.linear_model import LogisticRegression

    splits = registry.load_dataset("mosi")
    model = LogisticRegression(C=0.01, max_iter=1000).fit(splits.train.inputs["text"].numpy(), splits.train.target)
    assert 0.76 < model.score(splits.test.inputs["text"].numpy(), splits.test.target) < 0.81
    assert 0.70 < model.score(splits.valid.inputs["text"].numpy(), splits.valid.target) < 0.84


@pytest.fixture
def mosi_copy(mosi_root: Path, tmp_path: Path) -> Path:
    shutil.copytree(mosi_root / "mosi", tmp_path / "mosi", copy_function=shutil.copyfile)
    return tmp_path


def cut(path: Path, n_characters: int) -> None:
    path.write_text(path.read_text(encoding="latin-1")[:-n_characters], encoding="latin-1")


@pytest.mark.parametrize(
    ("name", "n_characters", "message"),
    [
        ("transcripts.csv", 10_000, "rows, but 2199 are expected"),
        ("text_test.csv", 2_000, "rows, but 752 are expected"),
        ("audio/audio_train0.csv", 5, "row 1447 has 73 columns, but 74 are expected"),
        ("audio/audio_test0.csv", 30_000, "rows, but 752 are expected"),
    ],
)
def test_a_truncated_table_is_one_clear_line_even_with_its_checksum_updated(
    mosi_copy: Path, name: str, n_characters: int, message: str
) -> None:
    cut(mosi_copy / "mosi" / name, n_characters)
    with pytest.raises(files.DataError, match=message) as error:
        _mosi.read_features(mosi_copy, "audio", _mosi.read_utterances(mosi_copy))
    assert str(mosi_copy / "mosi" / name) in str(error.value)
    assert "\n" not in str(error.value)


def test_features_in_another_order_are_noticed(mosi_copy: Path) -> None:
    path = mosi_copy / "mosi" / "audio" / "audio_test0.csv"
    path.write_text("".join(reversed(path.read_text().splitlines(keepends=True))))
    with pytest.raises(files.DataError, match="labels differ"):
        _mosi.read_features(mosi_copy, "audio", _mosi.read_utterances(mosi_copy))


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DMIL_CACHE", str(tmp_path / "cache"))


@pytest.mark.usefixtures("empty_cache")
def test_wrong_checksum_and_missing_file_are_user_errors(mosi_copy: Path, tmp_path: Path) -> None:
    cut(mosi_copy / "mosi" / "transcripts.csv", 1)
    for ask in (registry.load_dataset, registry.prepare):
        with pytest.raises(UserError, match=r"^dataset mosi-acl2017: .*transcripts\.csv has sha256 .* is expected"):
            ask("mosi-acl2017", root=mosi_copy)
    (mosi_copy / "mosi" / "transcripts.csv").unlink()
    assert registry.status("mosi-acl2017", root=mosi_copy).missing == ("mosi/transcripts.csv",)
    assert not list(tmp_path.rglob("*.safetensors"))


@pytest.mark.usefixtures("empty_cache")
def test_status_goes_from_present_to_prepared(tmp_path: Path) -> None:
    assert str(registry.status("digits", root=tmp_path)) == "present, not prepared yet"
    registry.prepare("digits", root=tmp_path)
    assert str(registry.status("digits", root=tmp_path)) == "prepared"
    assert str(registry.status("utd_mhad", root=tmp_path)) == "missing: utd_mhad"


def test_utd_mhad(data_root: Path, require: Require) -> None:
    require(data_root / "utd_mhad")
    splits = registry.load_dataset("utd_mhad")
    assert splits.train.dims == {"accelerometer": 24, "gyroscope": 24, "skeleton": 480}
    assert splits.task.n_classes == len(set(splits.task.class_names)) == 27
    assert len(splits.train) + len(splits.valid) == 431
    assert len(splits.test) == 430
    assert set(splits.test.groups) == {f"subject {s}" for s in "2468"}
    assert len(set(splits.valid.groups)) == 1
    assert len(set(splits.train.groups)) == 3
    by_name = dict(zip(splits.test.ids, splits.test.target.tolist(), strict=True))
    assert by_name["a27_s2_t1"] == 26
    skeleton = splits.train.inputs["skeleton"].reshape(-1, 8, 20, 3)
    assert (skeleton[:, :, utd_mhad.HIP_CENTRE] == 0).all()


def test_statistics_by_hand() -> None:
    series = torch.tensor([[1.0, 0], [3, 0], [5, 0], [5, 2], [1, 0], [3, 0], [7, 0], [7, 6]], dtype=torch.float64)
    found = utd_mhad.statistics(series).reshape(8, 2)
    expected = [[4, 1], [5**0.5, 4**0.5], [1, 0], [7, 6], [2, 0], [5, 1], [2, 0], [7, 3]]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


def test_digits_halves_make_the_image() -> None:
    from sklearn.datasets import load_digits

    splits = registry.load_dataset("digits")
    assert [len(split) for split in splits.parts().values()] == [898, 359, 540]
    for split in splits.parts().values():
        counts = split.target.bincount().double() / len(split)
        assert (counts - 0.1).abs().max() < 0.005
    rows = [int(i.split("-")[1]) for i in splits.train.ids]
    images, labels = load_digits(return_X_y=True)
    assert splits.train.target.tolist() == labels[rows].tolist()
    both = torch.cat([splits.train.inputs[half].reshape(-1, 8, 4) for half in ("left", "right")], dim=2)
    expected = torch.from_numpy(images[rows]).reshape(-1, 8, 8)
    pixel = (slice(None), 3, 4)
    correlation = torch.corrcoef(torch.stack([both[pixel].double(), expected[pixel]]))
    assert float(correlation[0, 1]) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [("mosy", "did you mean 'mosi'"), ("interaction", "'interactions'"), ("interactons-r", "'interactions-r'")],
)
def test_an_unknown_name_gets_a_suggestion(wrong: str, hint: str) -> None:
    for ask in (registry.load_dataset, registry.prepare, registry.status):
        with pytest.raises(UserError, match=hint) as error:
            ask(wrong)
        assert all(name in str(error.value) for name in (*registry.FAMILIES, *registry.DATASETS))
    with pytest.raises(UserError, match="unknown dataset 'xyz': known: interactions, avdigits, rosmap, "):
        registry.load_dataset("xyz")


def test_the_list_shows_every_dataset_and_how_to_name_more(data_root: Path) -> None:
    text = listing()
    for name in registry.names():
        assert f"\n  {name} " in text
    assert f"\n  any {registry.family('interactions').GRAMMAR}\n" in text


def test_the_registry_is_cheap_to_import(root: Path) -> None:
    code = "import sys, benchmarks.registry; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0


def test_cards_survive_the_cache(name: str) -> None:
    splits: Splits = registry.load_dataset(name)
    assert splits.card == loader(name).CARD
