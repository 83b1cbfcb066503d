"""Encoders of every kind of modality: what they compute, that replicas do not meet, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.methods import METHODS
from dmil.data import Shared, Split
from dmil.encoders import ENCODERS, Encoders, Source, sources_of
from dmil.nn import Conv2d, Embedding, GroupNorm, LayerNorm, Linear, steps
from dmil.seeds import generator, initialising
from dmil.selection import Budget
from dmil.sequences import GruLayer, Transformer, pooled, sinusoids
from dmil.train import FitResult, predict
from dmil.vision import Palette
from tests.made_kinds import KINDS, STEPS, fitted, made_kinds, same

SEQUENCE = Source((STEPS, 4), "sequence", encoder="gru")
TRAINED = [name for name in METHODS if name not in ("constant", "ensemble") and not name.startswith("dmil_pid_")]


def built(encoder: str, source: Source, **options: Any) -> nn.Module:
    with initialising("test", encoder):
        return ENCODERS[encoder](source, width=8, depth=2, dropout=0.0, **options).double().eval()


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator("test_encoders", *shape)).double()


def stacked(layers: list[nn.Module]) -> nn.Module:
    """One layer with the parameters of several, side by side."""
    together = layers[0]
    for name, parameter in list(together.named_parameters()):
        parameter.data = torch.stack([layer.get_parameter(name).data for layer in layers])
    return together


def test_gru_is_that_of_torch() -> None:
    layer, reference = GruLayer(4).double(), nn.GRU(4, 4, batch_first=True).double()
    with torch.no_grad():
        for mine, its in ((layer.read, "ih"), (layer.again, "hh")):
            mine.weight.copy_(reference.get_parameter(f"weight_{its}_l0").T)
            mine.bias.copy_(reference.get_parameter(f"bias_{its}_l0"))
    x = random(3, STEPS, 4)
    # torch mixes as (1 - z) n + z h, as does this; its gates stand in the order reset, update, new.
    torch.testing.assert_close(layer(x, torch.ones(3, STEPS, dtype=torch.bool)), reference(x)[0])


def test_means_of_parts_by_hand() -> None:
    x = torch.tensor([1.0, 2, 3, 4, 5, 9]).view(1, 6, 1)
    exists = torch.tensor([[True, True, False, True, True, False]])
    assert pooled(x, exists).tolist() == [[3.0]]
    assert pooled(x, exists, 2).tolist() == [[1.5, 4.5]]
    assert pooled(x, exists, 4).tolist() == [[1.0, 2.0, 4.0, 5.0]]
    assert pooled(x, exists, 8).tolist() == [[1.0, 0.0, 2.0, 0.0, 4.0, 0.0, 5.0, 0.0]]
    assert pooled(x, torch.zeros(1, 6, dtype=torch.bool), 2).tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize("encoder", ["gru", "transformer"])
def test_padding_changes_nothing(encoder: str, parts: int) -> None:
    long = built(encoder, Source((STEPS + 3, 4), "sequence", encoder=encoder), parts=parts)
    short = built(encoder, Source((STEPS, 4), "sequence", encoder=encoder), parts=parts)
    x = torch.cat([random(5, STEPS, 3), torch.ones(5, STEPS, 1).double()], -1)
    padded = torch.cat([x, torch.zeros(5, 3, 4).double()], 1)
    padded[:, STEPS:, :-1] = 1e3  # whatever stands where no step is
    torch.testing.assert_close(long(padded), short(x))


@pytest.mark.parametrize("encoder", ["gru", "transformer"])
def test_padding_of_words_changes_nothing(encoder: str) -> None:
    long = built(encoder, Source((STEPS + 2,), "tokens", 9, encoder=encoder))
    short = built(encoder, Source((STEPS,), "tokens", 9, encoder=encoder))
    words = torch.randint(1, 9, (4, STEPS), generator=generator("words"))
    torch.testing.assert_close(long(F.pad(words, (0, 2))), short(words))


@pytest.mark.parametrize("encoder", ["gru", "transformer"])
def test_a_sample_without_any_step_has_a_finite_encoding(encoder: str) -> None:
    assert (
        built(encoder, Source((STEPS, 4), "sequence", encoder=encoder))(torch.zeros(2, STEPS, 4).double())
        .isfinite()
        .all()
    )


def test_order_matters_to_a_transformer_through_its_positions_alone() -> None:
    model = Transformer(SEQUENCE, width=8, depth=1, dropout=0.0, heads=2).double().eval()
    x = torch.cat([random(2, STEPS, 3), torch.ones(2, STEPS, 1).double()], -1)
    assert not torch.allclose(model(x), model(x.flip(1)))
    model.positions.zero_()
    torch.testing.assert_close(model(x), model(x.flip(1)))


def test_a_layer_of_the_transformer_is_that_of_torch() -> None:
    model = Transformer(SEQUENCE, width=8, depth=1, dropout=0.0, heads=2).double().eval()
    (mine,) = model.layers
    reference = nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True, norm_first=True).double().eval()
    pairs = {
        "self_attn.in_proj": "project", "self_attn.out_proj": "merge", "linear1": "up", "linear2": "down",
    }  # fmt: skip
    with torch.no_grad():
        for its, own in pairs.items():
            joint = "_" if its.endswith("in_proj") else "."
            reference.get_parameter(f"{its}{joint}weight").copy_(mine.get_parameter(f"{own}.weight").T)
            reference.get_parameter(f"{its}{joint}bias").copy_(mine.get_parameter(f"{own}.bias"))
    x, exists = random(3, STEPS, 8), torch.arange(STEPS) < torch.tensor([[6], [4], [1]])
    theirs = reference(x, src_key_padding_mask=~exists)
    torch.testing.assert_close(mine(x, exists)[exists], theirs[exists])


def test_positions() -> None:
    found = sinusoids(4, 4)
    torch.testing.assert_close(found[3], torch.tensor([math.sin(3), math.sin(0.03), math.cos(3), math.cos(0.03)]))


def test_layers_are_those_of_torch_one_by_one_and_side_by_side() -> None:
    images, rows = random(2, 4, 4, 7, 6), random(2, 4, 5, 8)
    pairs: list[tuple[Any, Any, Tensor]] = [
        (lambda: Conv2d(4, 8, 3, stride=2, padding=1), lambda: nn.Conv2d(4, 8, 3, stride=2, padding=1), images),
        (lambda: GroupNorm(2, 4), lambda: nn.GroupNorm(2, 4), images),
        (lambda: LayerNorm(8), lambda: nn.LayerNorm(8), rows),
    ]
    for make, make_theirs, x in pairs:
        layers, theirs = [make().double() for _ in range(2)], [make_theirs().double() for _ in range(2)]
        for layer, its in zip(layers, theirs, strict=True):
            nn.init.normal_(layer.weight)
            nn.init.normal_(layer.bias)
            its.load_state_dict(layer.state_dict())
        expected = torch.stack([its(one) for its, one in zip(theirs, x, strict=True)])
        torch.testing.assert_close(layers[0](x[0]), expected[0])
        shared = torch.stack([its(x[0]) for its in theirs])
        both = stacked(layers)
        torch.testing.assert_close(both(x), expected)
        if x is images:
            torch.testing.assert_close(both(x[0]), shared)


def test_words_are_looked_up_in_the_table_of_their_replica() -> None:
    tables = [Embedding(5, 3) for _ in range(2)]
    words = torch.tensor([[[1, 4, 0]], [[2, 2, 3]]])
    expected = torch.stack(
        [F.embedding(one, table.weight, padding_idx=0) for one, table in zip(words, tables, strict=True)]
    )
    expected = expected * (words != 0).unsqueeze(-1)
    alone = tables[0](words[1])
    both = stacked(list(tables))
    assert torch.equal(both(words), expected)
    assert torch.equal(both(words[1])[0], alone)


def test_a_shared_image_is_encoded_once_and_seen_by_all_its_samples() -> None:
    problem = made_kinds("image", "features")
    seen: list[int] = []
    encoders = Encoders(sources_of(problem.train), width=8, depth=1, dropout=0.0).double().eval()
    encoders.each[0].register_forward_hook(lambda module, given, found: seen.append(found.shape[-2]))
    split = problem.train
    index = torch.tensor([0, 5, 4, 0, 30])
    images, which = torch.unique(split.rows["image"][index], return_inverse=True)
    inputs = {"image": Shared(split.inputs["image"][images], which), "features": split.inputs["features"][index]}
    found = encoders(inputs)[0]
    expected = encoders({**inputs, "image": split.expanded("image")[index]})[0]
    torch.testing.assert_close(found, expected)
    assert seen == [3, 5]


def test_pixels_are_standardised_per_channel_with_training_statistics() -> None:
    images = torch.randint(0, 256, (600, 2, 5, 4), dtype=torch.uint8, generator=generator("pixels"))
    images[:, 1] = 51
    source = sources_of(Split({"x": images}, torch.zeros(600)))["x"]
    some = images[::2, 0].double() / 255
    assert source.mean == pytest.approx((some.mean().item(), 0.2))
    assert source.std == pytest.approx((some.std(correction=0).item(), 1.0))
    model = built("cnn", source)
    shift, scale = torch.tensor(source.mean).double(), torch.tensor(source.std).double()
    plain = built("cnn", Source((2, 5, 4), "image", encoder="cnn"))
    x = images[:3].double() / 255
    torch.testing.assert_close(model(x), plain((x - shift[:, None, None]) / scale[:, None, None]), rtol=1e-6, atol=1e-6)


def test_colours_of_cells_by_hand() -> None:
    """Two cells of 2x2: the pixel that stands for the middle decides, here white and red, not one in a corner."""
    image = torch.full((3, 2, 4), 255, dtype=torch.uint8)
    image[1:, 0, 0] = 0
    image[1:, :, 2:] = 0
    image[:, 0, 2] = 255
    images = image.repeat(6, 1, 1, 1)
    source = sources_of(Split({"x": images}, torch.zeros(6)), {"x": {"name": "palette", "colours": 2}})["x"]
    model = Palette(source, width=4, depth=1, dropout=0.0)
    model.stride = 2
    x = (images[:1].float() / 255 - model.mean[:, None, None]) / model.std[:, None, None]
    assert sorted(map(tuple, model.belongs(x)[0].tolist())) == [(0.0, 1.0), (1.0, 0.0)]


@pytest.mark.parametrize("kind", ["image", "clip"])
def test_replicas_with_palettes_do_not_meet(kind: str) -> None:
    encoders = {kind: {"name": "palette"}}
    together = trained("joint_mlp", (kind, "features"), (0, 1), encoders=encoders)
    (alone,) = trained("joint_mlp", (kind, "features"), (1,), encoders=encoders)
    same(together[1], alone)


def test_pixels_are_read_as_fractions_and_frames_averaged() -> None:
    problem = made_kinds("clip")
    encoders = Encoders(sources_of(problem.train), width=8, depth=1, dropout=0.0).double().eval()
    clips = problem.train.inputs["clip"]
    frames = [encoders.each[0](clips[:, f].double() / 255) for f in range(2)]
    torch.testing.assert_close(encoders({"clip": clips})[0], (frames[0] + frames[1]) / 2)


def trained(name: str, kinds: tuple[str, ...], seeds: tuple[int, ...], **more: Any) -> list[FitResult]:
    return fitted(name, made_kinds(*kinds), seeds, **more)


@pytest.mark.parametrize("kind", KINDS)
def test_replicas_do_not_meet(kind: str) -> None:
    other = "features" if kind != "features" else "tokens"
    together = trained("joint_mlp", (kind, other), (0, 1, 2))
    for result in together[1:]:
        (alone,) = trained("joint_mlp", (kind, other), (result.replica.seed,))
        same(result, alone)
    assert together[0].best["valid/acc"] > 0.6


@pytest.mark.parametrize("name", [*TRAINED[1:3], pytest.param("dmil_pid"), *(
    pytest.param(name, marks=pytest.mark.slow) for name in TRAINED[3:] if name != "dmil_pid"
)])  # fmt: skip
def test_every_method_reads_every_kind(name: str) -> None:
    problem = made_kinds()
    is_fit = METHODS[name].unfit(sources_of(problem.train), problem.task) is None
    (result,) = trained(name, KINDS if is_fit else KINDS[1:3], (0,))
    assert result.status == "finished"
    found = predict(result.method, Split(problem.valid.inputs, problem.valid.target, rows=problem.valid.rows))
    assert found.logits.shape == (36, 2)
    assert found.logits.isfinite().all()


def test_every_kind_trains_in_mixed_precision() -> None:
    budget = Budget(epochs=2, precision="bfloat16")
    for result in trained("dmil", KINDS, (0, 1), budget=budget, dtype=torch.float32):
        assert result.status == "finished"


def test_a_gru_trains_in_mixed_precision_on_tokens_too() -> None:
    encoders = {"tokens": {"name": "gru"}}
    budget = Budget(epochs=2, precision="bfloat16")
    (result,) = trained("joint", ("tokens", "features"), (0,), budget=budget, dtype=torch.float32, encoders=encoders)
    assert result.status == "finished"


def test_a_linear_layer_for_every_step() -> None:
    layer = Linear(3, 2).double()
    x = random(2, 5, 3)
    torch.testing.assert_close(steps(layer, x), torch.stack([layer(one) for one in x]))
