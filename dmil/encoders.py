"""Encoders: from what a modality is (features, sequence, tokens, image, clip) to one vector of a given width.

An encoder is built by ``builder(source, width=, depth=, dropout=, **options)`` and maps (..., B, *shape) to
(..., B, width). One that is made of layers of ``dmil.nn`` trains all replicas of a stack at once; any other module is
wrapped in ``Alone``, and its replicas train one by one.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from dmil.data import Inputs, Shared, Split
from dmil.nn import MLP, Noise, RandomLayer
from dmil.sequences import Gru, Transformer
from dmil.vision import Cnn, Palette, furthest_colours

FEATURES, SEQUENCE, TOKENS, IMAGE, CLIP = "features", "sequence", "tokens", "image", "clip"
DEFAULTS = {FEATURES: "mlp", SEQUENCE: "gru", TOKENS: "transformer", IMAGE: "cnn", CLIP: "cnn"}
N_SEEN, LEAST_STD = 512, 1e-6
COMMON = ("source", "width", "depth", "dropout")


@dataclass(frozen=True)
class Source:
    """One modality as its encoder is told of it.

    shape: of one sample. kind: features, sequence, tokens, image or clip. vocabulary: of tokens, how many there are.
    mean, std: of images, per channel, as fractions, over some training images. encoder: its name in ``ENCODERS``;
    options: what it takes beyond width, depth and dropout. palette: of the encoder of that name, standardised colours.
    """

    shape: tuple[int, ...]
    kind: str = FEATURES
    vocabulary: int = 0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    palette: tuple[tuple[float, ...], ...] = ()
    encoder: str = DEFAULTS[FEATURES]
    options: Mapping[str, Any] = field(default_factory=dict)


Sources = Mapping[str, int | Source]
"""What a method is told of its modalities; a number stands for that many features, read by an MLP."""


class Alone(nn.Module):
    """Wraps a module (B, *shape) to (B, width) of layers that know no replicas, such as ``torch.nn.Conv2d``.

    ``fit`` trains the replicas of a method with such a module one by one. Its buffers (running statistics, which
    change in place) are part of what is kept at the best epoch. All its parameters are trained, and no layer of
    ``dmil.nn`` that draws random numbers may lie inside.
    """

    def __init__(self, inner: nn.Module, n_dims: int) -> None:
        super().__init__()
        self.inner, self.n_dims = inner, n_dims

    def forward(self, x: Tensor) -> Tensor:
        stacked = x.dim() > 1 + self.n_dims
        found: Tensor = self.inner(x.squeeze(0) if stacked else x)
        return found.unsqueeze(0) if stacked else found


def is_alone(module: nn.Module) -> bool:
    """Whether its replicas must train one by one."""
    return any(isinstance(part, Alone) for part in module.modules())


def mlp(source: Source, *, width: int, depth: int, dropout: float) -> nn.Module:
    """``depth`` hidden layers; features only."""
    return MLP(source.shape[0], width, hidden=width, depth=depth, dropout=dropout)


Builder = Callable[..., nn.Module]
ENCODERS: dict[str, Builder] = {"mlp": mlp, "gru": Gru, "transformer": Transformer, "cnn": Cnn, "palette": Palette}
READS: dict[str, tuple[str, ...]] = {
    "mlp": (FEATURES,),
    "gru": (SEQUENCE, TOKENS),
    "transformer": (SEQUENCE, TOKENS),
    "cnn": (IMAGE, CLIP),
    "palette": (IMAGE, CLIP),
}
"""Name -> the kinds of modality that the encoder reads."""


def kind_of(x: Tensor) -> str:
    """What a modality's tensor (N, *shape) holds. Raises ValueError where it is none of the known kinds."""
    kinds = {2: FEATURES, 3: SEQUENCE, 4: IMAGE, 5: CLIP}
    if x.dtype == torch.int64 and x.dim() == 2:
        return TOKENS
    is_pixels = x.dtype == torch.uint8 and x.dim() >= 4
    if (x.is_floating_point() or is_pixels) and x.dim() in kinds:
        return kinds[x.dim()]
    raise ValueError(f"a tensor of type {x.dtype} and shape {tuple(x.shape)} is no modality")


def sources_of(split: Split, encoders: Mapping[str, Mapping[str, Any]] | None = None) -> dict[str, Source]:
    """What encoders are told of the modalities of a training split.

    encoders: modality -> ``{"name": .., option: value}``; who is not named has the default of its kind.

    Raises:
        ValueError: an encoder for a modality that is not there, or one that is unknown, does not read its kind or does
            not take an option; a tensor that is no modality.
    """
    found = {}
    for name in encoders or {}:
        if name not in split.inputs:
            raise ValueError(f"an encoder is chosen for {name!r}, but there are {', '.join(split.inputs)}")
    for name, x in split.inputs.items():
        kind = kind_of(x)
        _check_content(name, kind, x)
        options = dict((encoders or {}).get(name, {}))
        chosen = options.pop("name", DEFAULTS[kind])
        _check(name, kind, chosen, options)
        vocabulary = int(x.max()) + 1 if kind == TOKENS else 0
        mean, std = _pixels(x) if kind in (IMAGE, CLIP) else ((), ())
        colours = _colours(x, mean, std, options) if chosen == "palette" else ()
        found[name] = Source(tuple(x.shape[1:]), kind, vocabulary, mean, std, colours, chosen, options)
    return found


def _pixels(x: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation per channel of ``N_SEEN`` images at most, evenly spaced; 1 for the deviation of a constant."""
    some = x[:: -(-len(x) // N_SEEN) or 1].double() / (255 if x.dtype == torch.uint8 else 1)
    values = some.movedim(-3, 0).flatten(1)
    std = values.std(1, correction=0)
    return tuple(values.mean(1).tolist()), tuple(torch.where(std > LEAST_STD, std, 1.0).tolist())


def _colours(x: Tensor, mean: tuple[float, ...], std: tuple[float, ...], options: Mapping[str, Any]) -> Any:
    """The palette of ``N_SEEN`` images at most, as many colours as the option says."""
    n = options.get("colours", inspect.signature(Palette).parameters["colours"].default)
    if type(n) is not int or n < 2:
        raise ValueError(f"a palette has 2 colours or more, but got colours={n!r}")
    some = x[:: -(-len(x) // N_SEEN) or 1]
    return tuple(tuple(colour) for colour in furthest_colours(some, mean, std, n).tolist())


def _check_content(modality: str, kind: str, x: Tensor) -> None:
    """Looks at ``N_SEEN`` samples at most."""
    some = x[:: -(-len(x) // N_SEEN) or 1]
    if kind == SEQUENCE and not ((some[..., -1] == 0) | (some[..., -1] == 1)).all():
        raise ValueError(f"the last feature of the sequence {modality!r} must be 1 where a step exists, else 0")
    if kind == TOKENS and len(x) and int(x.min()) < 0:
        raise ValueError(f"tokens of {modality!r} must not be negative, but got {int(x.min())}")


def _check(modality: str, kind: str, encoder: str, options: Mapping[str, Any]) -> None:
    if encoder not in ENCODERS:
        raise ValueError(f"unknown encoder {encoder!r} for {modality!r}; {_hint(encoder, list(ENCODERS))}")
    if kind not in READS[encoder]:
        able = ", ".join(name for name, kinds in READS.items() if kind in kinds)
        raise ValueError(f"encoder {encoder!r} reads {' or '.join(READS[encoder])}, but {modality!r} is {kind}: {able}")
    known = [name for name in inspect.signature(ENCODERS[encoder]).parameters if name not in COMMON]
    for option in options:
        if option not in known:
            hint = _hint(option, known) if known else "it takes none"
            raise ValueError(f"unknown option {option!r} of encoder {encoder!r} for {modality!r}; {hint}")


def told(sources: Sources) -> dict[str, Source]:
    """Sources in full: a number becomes that many features."""
    return {name: Source((one,)) if isinstance(one, int) else one for name, one in sources.items()}


def _hint(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return (f"did you mean {close[0]!r}? " if close else "") + f"known: {', '.join(known)}"


class Encoders(RandomLayer):
    """One encoder per modality, x_m (..., B, *shape) to z_m (..., B, width), all of the same width."""

    def __init__(self, sources: Sources, *, width: int, depth: int, dropout: float) -> None:
        super().__init__()
        self.modalities = tuple(sources)
        full = told(sources).values()
        self.clips = tuple(one.kind == CLIP for one in full)
        self.each = nn.ModuleList(_build(one, width=width, depth=depth, dropout=dropout) for one in full)

    def forward(self, inputs: Inputs) -> list[Tensor]:
        each = zip(self.modalities, self.each, self.clips, strict=True)
        found = [_encode(encoder, inputs[name], is_clip, self.noise) for name, encoder, is_clip in each]
        lead = max((z.shape[:-2] for z in found), key=len)
        return [z.expand(*lead, *z.shape[-2:]) for z in found]


def _build(source: Source, **common: Any) -> nn.Module:
    if source.kind == CLIP:
        source = replace(source, shape=source.shape[1:], kind=IMAGE)
    return ENCODERS[source.encoder](source, **common, **source.options)


def _encode(encoder: nn.Module, x: Tensor | Shared, is_clip: bool, noise: Noise) -> Tensor:
    if isinstance(x, Shared):
        with noise.of_objects(x.counts):
            z = _encode(encoder, x.values, is_clip, noise)
        index = x.index.expand(*z.shape[:-2], x.index.shape[-1])
        return z.gather(-2, index.unsqueeze(-1).expand(*index.shape, z.shape[-1]))
    if x.dtype == torch.uint8:
        x = x.to(next(encoder.parameters()).dtype).div_(255)
    if is_clip:
        n_frames = x.shape[-4]
        z = encoder(x.flatten(-5, -4))
        return z.unflatten(-2, (z.shape[-2] // n_frames, n_frames)).mean(-2)
    return encoder(x)
