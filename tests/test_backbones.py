"""Encoders built by `transformers`, from scratch: shapes, seeds, and the published ResNet-18."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.backbones import BACKBONES, READS
from benchmarks.backbones.vision import projection
from benchmarks.errors import UserError
from dmil.encoders import is_alone
from tests.made_backbones import WIDTH, build, images

SLOW = pytest.mark.slow
SHAPES = [
    pytest.param("resnet18", (3, 64, 72), {}, marks=SLOW),
    pytest.param("resnet18", (1, 40, 23), {}, marks=SLOW),
    ("resnet18", (2, 12, 12), {"channels_last": True}),
    pytest.param("vit", (3, 65, 80), {}, marks=SLOW),
    ("vit", (2, 9, 8), {}),
    pytest.param("vit", (1, 20, 12), {"patch": 7}, marks=SLOW),
]


@pytest.mark.parametrize(("name", "shape", "options"), SHAPES)
def test_an_image_of_any_size_becomes_a_vector_and_every_parameter_learns(
    name: str, shape: tuple[int, ...], options: dict[str, Any]
) -> None:
    encoder = build(name, *shape, **options)
    z = encoder(images(3, *shape))
    assert z.shape == (3, WIDTH)
    z.square().sum().backward()
    still = [n for n, p in encoder.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert still == []
    assert is_alone(encoder)


def test_depth_counts_the_layers_of_the_projection() -> None:
    found = {depth: projection(20, WIDTH, depth, 0.5)(images(3, 20)).shape for depth in (1, 2, 3)}
    assert set(found.values()) == {(3, WIDTH)}
    sizes = [sum(p.numel() for p in projection(20, WIDTH, depth, 0.5).parameters()) for depth in (1, 2, 3)]
    assert sizes[0] == 20 * WIDTH + WIDTH
    assert sizes[1] - sizes[0] == sizes[2] - sizes[1] == WIDTH * WIDTH + WIDTH


def test_tables_name_the_same_encoders_and_clips_are_read_like_images() -> None:
    assert BACKBONES.keys() == READS.keys()
    assert READS["vit"] == READS["resnet18"] == ("image", "clip")


@pytest.mark.parametrize("name", [pytest.param("resnet18", marks=SLOW), "vit"])
def test_a_seed_says_where_weights_start_and_nothing_else_does(name: str) -> None:
    before = torch.get_rng_state()
    first = build(name, 1, 16, 16).state_dict()
    torch.rand(7)
    again, other = build(name, 1, 16, 16).state_dict(), build(name, 1, 16, 16, seed=1).state_dict()
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)
    torch.set_rng_state(before)


@SLOW
def test_training_draws_no_numbers_of_its_own() -> None:
    for name in ("resnet18", "vit"):
        body = build(name, 1, 16, 16)[0].train()
        x = images(4, 1, 16, 16)
        before = torch.get_rng_state()
        body(x)
        assert torch.equal(torch.get_rng_state(), before)


def test_resnet18_has_as_many_parameters_as_published() -> None:
    """11,689,512 with the classifier, which has 512 * 1000 + 1000."""
    encoder = build("resnet18", 3, 64, 64)
    assert sum(p.numel() for p in encoder[0].parameters()) == 11_689_512 - 513_000


def norm(x: Tensor, weights: dict[str, Tensor], name: str, is_training: bool) -> Tensor:
    mean, var = weights[f"{name}.running_mean"].clone(), weights[f"{name}.running_var"].clone()
    return F.batch_norm(x, mean, var, weights[f"{name}.weight"], weights[f"{name}.bias"], is_training)


def reference(x: Tensor, weights: dict[str, Tensor], *, is_small: bool, is_training: bool) -> Tensor:
    """ResNet-18 as in Table 1 and Figure 5 (left) of He et al., CVPR 2016, written out."""
    stem = weights["embedder.embedder.convolution.weight"]
    x = F.conv2d(x, stem, padding=1) if is_small else F.conv2d(x, stem, stride=2, padding=3)
    x = norm(x, weights, "embedder.embedder.normalization", is_training).relu()
    x = x if is_small else F.max_pool2d(x, 3, 2, 1)
    for stage in range(4):
        for block in range(2):
            at = f"encoder.stages.{stage}.layers.{block}"
            stride = 2 if stage > 0 and block == 0 else 1
            y = F.conv2d(x, weights[f"{at}.layer.0.convolution.weight"], stride=stride, padding=1)
            y = norm(y, weights, f"{at}.layer.0.normalization", is_training).relu()
            y = F.conv2d(y, weights[f"{at}.layer.1.convolution.weight"], padding=1)
            y = norm(y, weights, f"{at}.layer.1.normalization", is_training)
            if stride == 2:
                x = F.conv2d(x, weights[f"{at}.shortcut.convolution.weight"], stride=2)
                x = norm(x, weights, f"{at}.shortcut.normalization", is_training)
            x = (x + y).relu()
    return x.mean((2, 3))


@torch.no_grad()
@pytest.mark.parametrize(("stem", "height", "width"), [("large", 40, 36), ("small", 10, 9)])
def test_resnet18_is_the_published_one(stem: str, height: int, width: int) -> None:
    body = build("resnet18", 2, height, width, stem=stem)[0].inner
    x = images(3, 2, height, width)
    for is_training in (True, False):
        weights = {name: value.clone() for name, value in body.model.state_dict().items()}
        expected = reference(x, weights, is_small=stem == "small", is_training=is_training)
        torch.testing.assert_close(body.train(is_training)(x), expected, atol=1e-4, rtol=1e-4)


@SLOW
def test_channels_last_is_the_same_function() -> None:
    encoder = build("resnet18", 1, 20, 20).double()
    other = build("resnet18", 1, 20, 20, channels_last=True).double()
    x = images(3, 1, 20, 20).double()
    torch.testing.assert_close(encoder(x), other(x), atol=1e-10, rtol=1e-10)


ASKED = [
    ("resnet18", (3, 80, 80), {"stem": "medium"}, "unknown stem 'medium'"),
    ("resnet18", (3, 80, 80), {"channels_last": "no"}, "'channels_last' of encoder resnet18 must be true or false"),
    ("resnet18", (1, 8, 8), {}, "more than 8 pixels"),
    ("resnet18", (1, 32, 32), {"stem": "large"}, "more than 32 pixels.*stem: small"),
    ("resnet18", (3, 80, 80), {"stem": "small", "weights": "x"}, "leave out `stem`"),
    ("resnet18", (3, 80, 80), {"weights": 3}, "3 is no path"),
    ("minilm", (5,), {"frozen": 1}, "'frozen' of encoder minilm must be true or false, but got 1"),
    ("vit", (3, 80, 80), {"size": "huge"}, "unknown size 'huge'.*tiny, small, base"),
    ("vit", (3, 80, 80), {"patch": 0}, "1 to 80 pixels"),
    ("vit", (3, 80, 80), {"patch": 81}, "1 to 80 pixels"),
    ("vit", (3, 80, 80), {"weights": "x", "size": "tiny"}, "leave out `size` and `patch`"),
]


@pytest.mark.parametrize(("name", "shape", "options", "message"), ASKED)
def test_what_cannot_be_is_one_clear_line(
    name: str, shape: tuple[int, ...], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        build(name, *shape, **options)
