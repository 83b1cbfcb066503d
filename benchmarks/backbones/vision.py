"""ResNet-18 and ViT as encoders of images (C, H, W) with any number of channels, from scratch or pretrained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.backbones.weights import (
    CONFIG,
    check_switch,
    folder_of,
    load,
    pixel_statistics,
    quiet_transformers,
    read_config,
)
from benchmarks.errors import UserError
from dmil.encoders import Alone, Source
from dmil.nn import MLP, Dropout

SMALL = 64
"""Images with a side shorter than this, in pixels, get the small stem or patch where none is asked for."""
STEMS = ("auto", "large", "small")
WIDTHS = (64, 128, 256, 512)
RESNET18: dict[str, Any] = {
    "embedding_size": WIDTHS[0],
    "hidden_sizes": list(WIDTHS),
    "depths": [2, 2, 2, 2],
    "layer_type": "basic",
    "hidden_act": "relu",
    "downsample_in_first_stage": False,
}
VITS = {"tiny": (192, 3), "small": (384, 6), "base": (768, 12)}
"""Hidden size and heads of Touvron et al., ICML 2021; twelve layers each."""
N_LAYERS, LARGE_PATCH, SMALL_PATCH = 12, 16, 4


def resnet18(
    source: Source,
    *,
    width: int,
    depth: int,
    dropout: float,
    weights: str | None = None,
    stem: str = "auto",
    channels_last: bool = False,
) -> nn.Module:
    """ResNet-18 (He et al., CVPR 2016) up to its pooled 512 features, then the projection of ``projection``.

    weights: folder of pretrained weights, below the data root or absolute; without, it starts from random numbers.
    stem: large (7x7 at stride 2 and a max-pool, as published), small (3x3 at stride 1 and no pool, as on CIFAR), or
    auto, which is small for images under 64 pixels and without weights. channels_last: another order of numbers in
    memory, the same function; meant for GPUs in mixed precision, as on a CPU it was 0.85 to 1.1 times as fast. Batch
    statistics make it a module whose replicas train one by one.

    Raises:
        UserError: an option that cannot be, an image of which one position alone would be left, weights of another net.
    """
    check_switch("resnet18", "channels_last", channels_last)
    if stem not in STEMS:
        raise UserError(f"unknown stem {stem!r} of encoder resnet18; known: {', '.join(STEMS)}")
    n_channels, height, side = source.shape
    is_small = stem == "small" or (stem == "auto" and weights is None and min(height, side) < SMALL)
    if weights is not None and is_small:
        raise UserError("encoder resnet18: pretrained weights have the large stem; leave out `stem`")
    shrinks = 8 if is_small else 32
    if max(height, side) <= shrinks:
        raise UserError(
            f"encoder resnet18 needs images with a side of more than {shrinks} pixels, as batch statistics need more "
            f"than one position, but got {height}x{side}; {'' if is_small else 'stem: small or '}encoder cnn reads them"
        )
    with quiet_transformers() as library:
        if weights is None:
            model = library.ResNetModel(library.ResNetConfig(num_channels=n_channels, **RESNET18))
            if is_small:
                _make_small(model, n_channels)
            body = ResNet(model, channels_last=channels_last)
        else:
            folder = folder_of("resnet18", weights)
            config = _config(library.ResNetConfig, folder, RESNET18)
            model = _with_channels(load(library.ResNetModel, config, folder), n_channels)
            body = ResNet(model, pixel_statistics(folder), channels_last=channels_last)
    return nn.Sequential(Alone(body, 3), projection(WIDTHS[-1], width, depth, dropout))


def vit(
    source: Source,
    *,
    width: int,
    depth: int,
    dropout: float,
    weights: str | None = None,
    size: str | None = None,
    patch: int | None = None,
) -> nn.Module:
    """Vision transformer (Dosovitskiy et al., ICLR 2021) up to its class token, then the projection of ``projection``.

    size: tiny (by default), small or base. patch: side of a patch in pixels, by default 16, of images under 64
    pixels 4; what an image lacks to a multiple of it is filled with zeros at the right and at the bottom. weights:
    folder of pretrained weights, below the data root or absolute, which say size and patch themselves; positions are
    interpolated to the images at hand. It draws no random numbers while it trains: its own dropout is off, and
    ``dropout`` acts on the class token.

    Raises:
        UserError: an unknown size, a patch larger than the image, size or patch beside weights, weights of no ViT.
    """
    n_channels, *sides = source.shape
    if weights is not None and (size, patch) != (None, None):
        raise UserError("encoder vit: pretrained weights say their size and patch; leave out `size` and `patch`")
    if size is not None and size not in VITS:
        raise UserError(f"unknown size {size!r} of encoder vit; known: {', '.join(VITS)}")
    with quiet_transformers() as library:
        statistics = None
        if weights is None:
            side = (SMALL_PATCH if min(sides) < SMALL else LARGE_PATCH) if patch is None else patch
            _check_patch(side, sides)
            hidden, heads = VITS[size or "tiny"]
            config = library.ViTConfig(
                hidden_size=hidden,
                num_hidden_layers=N_LAYERS,
                num_attention_heads=heads,
                intermediate_size=4 * hidden,
                image_size=[_up(pixels, side) for pixels in sides],
                patch_size=side,
                num_channels=n_channels,
                attn_implementation="sdpa",
            )
            model = library.ViTModel(config, add_pooling_layer=False)
        else:
            folder = folder_of("vit", weights)
            config = _config(library.ViTConfig, folder, {})
            config.hidden_dropout_prob = config.attention_probs_dropout_prob = 0.0
            side = config.patch_size
            _check_patch(side, sides)
            model = load(library.ViTModel, config, folder, add_pooling_layer=False, attn_implementation="sdpa")
            model, statistics = _with_channels(model, n_channels), pixel_statistics(folder)
    body = Vit(model, side, statistics)
    return nn.Sequential(Alone(body, 3), projection(config.hidden_size, width, depth, dropout))


def projection(n_features: int, width: int, depth: int, dropout: float) -> nn.Module:
    """From what a backbone says, (..., B, n_features), to (..., B, width): dropout, ``depth`` - 1 hidden layers of
    that width, and a linear map. Depth 1 is the linear map that such backbones usually end in."""
    return nn.Sequential(Dropout(dropout), MLP(n_features, width, hidden=width, depth=depth - 1, dropout=dropout))


class Backbone(nn.Module):
    """A model of `transformers` behind the scaling of pixels that its weights are used to.

    statistics: mean and deviation of three channels (0..1), None for weights that start here. Images of another number
    of channels (spectrogram, optical flow) are taken as their dataset scaled them.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: Any, statistics: tuple[list[float], list[float]] | None = None) -> None:
        super().__init__()
        self.model: Any = model
        if statistics is not None and _first_convolution(model).in_channels != len(statistics[0]):
            statistics = None
        mean, std = ([0.0], [1.0]) if statistics is None else statistics
        self.is_scaled = statistics is not None
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1), persistent=False)

    def scaled(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.std if self.is_scaled else x


class ResNet(Backbone):
    """Images (B, C, H, W) to the features that are left after pooling, (B, 512)."""

    def __init__(
        self,
        model: Any,
        statistics: tuple[list[float], list[float]] | None = None,
        *,
        channels_last: bool = False,
    ) -> None:
        super().__init__(model, statistics)
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format

    def forward(self, x: Tensor) -> Tensor:
        stem, blocks, pool = self.model.embedder, self.model.encoder, self.model.pooler
        # After the stem: an image of one channel has the same numbers in both orders, and would stay in the first.
        x = stem(self.scaled(x)).contiguous(memory_format=self.memory_format)
        pooled: Tensor = pool(blocks(x).last_hidden_state)
        return pooled.flatten(1)


class Vit(Backbone):
    """Images (B, C, H, W) to the class token, (B, hidden)."""

    def __init__(self, model: Any, patch: int, statistics: tuple[list[float], list[float]] | None = None) -> None:
        super().__init__(model, statistics)
        self.patch, size = patch, model.config.image_size
        self.known_size = (size, size) if isinstance(size, int) else tuple(size)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        x = F.pad(self.scaled(x), (0, _up(width, self.patch) - width, 0, _up(height, self.patch) - height))
        is_other_size = x.shape[-2:] != self.known_size
        tokens: Tensor = self.model(x, interpolate_pos_encoding=is_other_size).last_hidden_state
        return tokens[:, 0]


def _config(kind: Any, folder: Path, expected: dict[str, Any]) -> Any:
    """The configuration in a folder of weights; it must be of this kind and have the values that are expected."""
    from huggingface_hub.errors import StrictDataclassError

    path = folder / CONFIG
    given = read_config(path)
    if given.get("model_type") != kind.model_type:
        raise UserError(f"{path} is of model type {given.get('model_type')!r}, but {kind.model_type!r} is needed")
    try:
        config = kind.from_dict(given)
    except (StrictDataclassError, TypeError, ValueError) as error:
        raise UserError(f"{path} is no configuration of {kind.model_type}: {' '.join(str(error).split())}") from error
    found = {name: getattr(config, name) for name in expected}
    wrong = {name: value for name, value in found.items() if value != expected[name]}
    if wrong:
        raise UserError(f"{path} has {wrong}, but { ({name: expected[name] for name in wrong}) } is needed")
    return config


def _first_convolution(model: Any) -> nn.Conv2d:
    return next(layer for layer in model.modules() if isinstance(layer, nn.Conv2d))


def _with_channels(model: Any, n_channels: int) -> Any:
    """Lets weights for other channels read ``n_channels``: every new channel gets the mean kernel of the old ones,
    scaled so that an image with the same values in every channel gives what it gave before."""
    first = _first_convolution(model)
    if first.in_channels != n_channels:
        kernel = first.weight.detach().mean(1, keepdim=True) * (first.in_channels / n_channels)
        first.weight = nn.Parameter(kernel.repeat(1, n_channels, 1, 1))
        first.in_channels = n_channels
        for layer in model.modules():
            if hasattr(layer, "num_channels"):
                layer.num_channels = n_channels
    return model


def _make_small(model: Any, n_channels: int) -> None:
    stem = nn.Conv2d(n_channels, WIDTHS[0], 3, padding=1, bias=False)
    nn.init.kaiming_normal_(stem.weight, mode="fan_out", nonlinearity="relu")
    model.embedder.embedder.convolution = stem
    model.embedder.pooler = nn.Identity()


def _check_patch(patch: Any, sides: list[int]) -> None:
    if not isinstance(patch, int) or isinstance(patch, bool) or not 1 <= patch <= max(sides):
        raise UserError(f"encoder vit: a patch must have 1 to {max(sides)} pixels a side here, but got {patch!r}")


def _up(n: int, step: int) -> int:
    """The smallest multiple of ``step`` that is not less than ``n``."""
    return -(-n // step) * step
