"""Backbones from pretrained weights: a folder as the model hub lays it out, wrong ones, and MiniLM."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.backbones import identity
from benchmarks.backbones.text import CLS
from benchmarks.backbones.weights import quiet_transformers
from benchmarks.errors import UserError
from dmil.encoders import Alone, is_alone
from dmil.seeds import initialising
from tests.made_backbones import WIDTH, build, images

SLOW = pytest.mark.slow
minilm_files = import_module("benchmarks.datasets._minilm")


@pytest.fixture(scope="module")
def has_minilm(data_root: Path) -> None:
    if not minilm_files.WEIGHTS.is_present(data_root):
        pytest.skip("the weights of MiniLM are missing: `make data DATASET=mosi` fetches them")


def save(folder: Path, kind: str, *, mean: float = 0.5, std: float = 0.25) -> Any:
    """A classifier with random weights, written as the model hub lays it out."""
    with quiet_transformers() as library, initialising("saved"):
        if kind == "resnet18":
            sizes: dict[str, Any] = {"hidden_sizes": [64, 128, 256, 512], "depths": [2, 2, 2, 2], "layer_type": "basic"}
            model = library.ResNetForImageClassification(library.ResNetConfig(**sizes))
        else:
            config = library.ViTConfig(
                hidden_size=12,
                num_hidden_layers=2,
                num_attention_heads=3,
                intermediate_size=24,
                image_size=24,
                patch_size=8,
            )
            model = library.ViTForImageClassification(config)
        model.save_pretrained(folder)
    pixels = {"image_mean": [mean, mean, mean], "image_std": [std, std, std]}
    (folder / "preprocessor_config.json").write_text(json.dumps(pixels))
    return model.eval()


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Any]]:
    folders = {name: tmp_path_factory.mktemp(name) for name in ("resnet18", "vit")}
    return {name: (folder, save(folder, name)) for name, folder in folders.items()}


@torch.no_grad()
def test_weights_of_resnet18_are_read_from_a_folder_below_the_data_root(
    saved: dict[str, tuple[Path, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, model = saved["resnet18"]
    monkeypatch.setenv("DMIL_DATA", str(folder.parent))
    body = build("resnet18", 3, 48, 50, weights=folder.name)[0].eval()
    x = images(2, 3, 48, 50)
    expected = model.resnet((x - 0.5) / 0.25).pooler_output.flatten(1)
    torch.testing.assert_close(body(x), expected)


@torch.no_grad()
def test_weights_of_a_vit_are_read_and_its_positions_are_interpolated(saved: dict[str, tuple[Path, Any]]) -> None:
    folder, model = saved["vit"]
    body = build("vit", 3, 24, 24, weights=str(folder))[0].eval()
    x = images(2, 3, 24, 24)
    torch.testing.assert_close(body(x), model.vit((x - 0.5) / 0.25).last_hidden_state[:, 0])
    wide = build("vit", 3, 30, 41, weights=str(folder))[0].eval()
    x = images(2, 3, 30, 41)
    padded = F.pad((x - 0.5) / 0.25, (0, 7, 0, 2))
    expected = model.vit(padded, interpolate_pos_encoding=True).last_hidden_state[:, 0]
    torch.testing.assert_close(wide(x), expected)


@torch.no_grad()
@pytest.mark.parametrize("name", [pytest.param("resnet18", marks=SLOW), "vit"])
def test_weights_for_three_channels_read_the_same_picture_in_one_or_two(name: str, tmp_path: Path) -> None:
    save(tmp_path, name, mean=0.0, std=1.0)
    x = images(2, 1, 40, 40)
    colour = build(name, 3, 40, 40, weights=str(tmp_path))[0].eval()(x.expand(-1, 3, -1, -1))
    for n_channels in (1, 2):
        body = build(name, n_channels, 40, 40, weights=str(tmp_path))[0].eval()
        torch.testing.assert_close(body(x.expand(-1, n_channels, -1, -1)), colour, atol=1e-4, rtol=1e-4)


def without_weights(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def cut(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])


def of_another_depth(folder: Path) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"depths": [3, 4, 6, 3], "num_hidden_layers": 3}))


def of_another_type(folder: Path) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model_type": "bert"}))


def with_nonsense(folder: Path) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"num_channels": "three"}))


def without_statistics(folder: Path) -> None:
    (folder / "preprocessor_config.json").write_text("{}")


def no_json(folder: Path) -> None:
    (folder / "config.json").write_text("{")


BROKEN: list[tuple[str, Callable[[Path], None], str]] = [
    ("resnet18", shutil.rmtree, r"config.json is missing; .*huggingface.co/microsoft/resnet-18"),
    ("vit", without_weights, r"model.safetensors is missing \(a pytorch_model.bin is a pickle and is not read\)"),
    ("vit", cut, "model.safetensors is no safetensors file"),
    ("resnet18", of_another_depth, r"'depths': \[3, 4, 6, 3\]"),
    ("vit", of_another_depth, r"does not fit config.json beside it: 16 weights are missing .*layers.2"),
    ("vit", of_another_type, "'bert', but 'vit' is needed"),
    ("resnet18", with_nonsense, "config.json is no configuration of resnet: .*num_channels"),
    ("resnet18", without_statistics, "preprocessor_config.json needs image_mean"),
    ("vit", no_json, "config.json is no JSON file"),
]


@pytest.mark.parametrize(("name", "harm", "message"), BROKEN)
def test_wrong_weights_are_one_clear_line(
    name: str,
    harm: Callable[[Path], None],
    message: str,
    saved: dict[str, tuple[Path, Any]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "weights"
    shutil.copytree(saved[name][0], folder)
    harm(folder)
    with pytest.raises(UserError, match=message) as caught:
        build(name, 3, 48, 48, weights=str(folder))
    assert "\n" not in str(caught.value)
    assert "".join(capsys.readouterr()) == ""


def test_identity_follows_the_bytes_of_the_weights(saved: dict[str, tuple[Path, Any]], tmp_path: Path) -> None:
    assert identity("cnn", {}) == {}
    assert identity("resnet18", {"stem": "small"}).keys() == {"transformers", "code"}
    folder = tmp_path / "weights"
    shutil.copytree(saved["vit"][0], folder)
    first = identity("vit", {"weights": str(saved["vit"][0])})
    assert first == identity("vit", {"weights": str(folder)})
    without_statistics(folder)
    second = identity("vit", {"weights": str(folder)})
    assert {name for name in first if first[name] != second[name]} == {"preprocessor_config.json"}


TEXTS = ["a", "not a word of it was true, they said", "What is left of the cube?"]


def numbered(texts: list[str], folder: Path) -> Tensor:
    """Texts in the numbers of MiniLM's tokenizer, padded with zeros: (N, T)."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    ids = [torch.tensor(encoding.ids) for encoding in tokenizer.encode_batch(texts)]
    return F.pad(torch.nn.utils.rnn.pad_sequence(ids, batch_first=True), (0, 3))


@pytest.mark.usefixtures("has_minilm")
@pytest.mark.parametrize("frozen", [True, pytest.param(False, marks=SLOW)])
def test_minilm_says_what_the_embedding_of_a_text_says(frozen: bool, data_root: Path) -> None:
    folder = minilm_files.WEIGHTS.fetch(data_root)
    ids = numbered(TEXTS, folder)
    encoder = build("minilm", ids.shape[1], frozen=frozen)
    with torch.no_grad():
        torch.testing.assert_close(encoder[0](ids), minilm_files.embed(TEXTS, folder), atol=1e-5, rtol=1e-5)
    z = encoder(ids)
    assert z.shape == (3, WIDTH)
    z.square().sum().backward()
    still = [n for n, p in encoder.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert still == []
    assert isinstance(encoder[0], Alone) != frozen


@pytest.mark.usefixtures("has_minilm")
def test_frozen_minilm_belongs_to_no_replica(data_root: Path) -> None:
    ids = numbered(TEXTS, minilm_files.WEIGHTS.fetch(data_root))
    encoder = build("minilm", ids.shape[1]).double()
    assert not is_alone(encoder)
    assert sum(p.numel() for p in encoder.parameters()) == 384 * WIDTH + WIDTH
    assert sum(value.numel() for value in encoder.state_dict().values()) == 384 * WIDTH + WIDTH
    twin = copy.deepcopy(encoder)
    stacked = twin[0](torch.stack([ids, ids.flip(0)]))
    assert stacked.shape == (2, 3, 384)
    assert stacked.dtype == torch.float64
    torch.testing.assert_close(stacked[1], encoder[0](ids).flip(0), atol=1e-6, rtol=1e-6)


@pytest.mark.usefixtures("has_minilm")
def test_a_text_without_words_is_zero_and_changes_no_other() -> None:
    body: Any = build("minilm", 4)[0]
    ids = torch.tensor([[0, 0, 0, 0], [CLS, 2003, 102, 0]])
    found = body(ids)
    assert not found[0].any()
    torch.testing.assert_close(found[1:], body(ids[1:]), atol=1e-5, rtol=1e-5)
    assert not body(ids[:1]).any()


@pytest.mark.usefixtures("has_minilm")
def test_words_with_numbers_of_their_own_and_long_texts_are_refused() -> None:
    ids = torch.tensor([[CLS, 7, 102, 0], [2, 3, 4, 0]])
    with pytest.raises(ValueError, match="its own tokenizer's numbers, which start with 101"):
        build("minilm", 4)(ids)
    with pytest.raises(UserError, match="up to 512 tokens, but got 513"):
        build("minilm", 513)


def test_the_library_is_as_loud_afterwards_as_before() -> None:
    from transformers.utils import logging

    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    with quiet_transformers():
        assert logging.get_verbosity() == logging.ERROR
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before
