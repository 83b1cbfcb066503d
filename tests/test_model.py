"""DMIL: its shapes, its stages, and its three losses worked out again from their formulas."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence
from torch.nn import functional as F

from dmil import Dmil, DmilCd, DmilFc, DmilId, DmilSettings, Task
from dmil.model import DECOMPOSITION, INTRA, JOINT
from dmil.nn import Linear, Noise, attach_noise
from dmil.seeds import generator
from dmil.stack import Stack, Streams
from tests.made_problems import NAMES

VARIANTS = (Dmil, DmilFc, DmilId, DmilCd)
WIDTH, LATENT, B, EPS = 4, 6, 5, 0.3
COMPONENTS = {
    Dmil: ("R", "U_text", "U_audio", "S"),
    DmilFc: ("R", "U_text", "U_audio", "S"),
    DmilId: ("M_text", "M_audio", "S"),
    DmilCd: ("R", "U_text", "U_audio"),
}
# Every weight another one, so that none can stand in for another.
SETTINGS = DmilSettings(
    width=WIDTH,
    latent=LATENT,
    dropout=0.0,
    variational=0.7,
    reconstruction=0.3,
    reconstruction_joint=0.2,
    alignment=0.45,
    component=0.6,
    component_joint=0.9,
    beta=1.3,
    gamma=0.8,
)


class Fixed(Noise):
    """Every normal number is EPS: a sample is mean + EPS * deviation."""

    def normal(self, like: Tensor) -> Tensor:
        return torch.full_like(like, EPS)


def made(variant: type[Dmil], n_modalities: int = 2, n_classes: int = 3) -> tuple[Dmil, dict[str, Tensor], Tensor]:
    """A model of few dimensions in float64, a batch of inputs and targets."""
    rng = generator("test_model", n_modalities, n_classes)
    dims = {name: 3 + m for m, name in enumerate(NAMES[:n_modalities])}
    model = variant(SETTINGS, dims, Task(n_classes=n_classes)).double()
    attach_noise(model, Fixed())
    for parameter in model.parameters():
        parameter.data = 0.3 * torch.randn(parameter.shape, generator=rng, dtype=torch.float64)
    inputs = {name: torch.randn(B, d, generator=rng, dtype=torch.float64) for name, d in dims.items()}
    return model, inputs, torch.arange(B) % n_classes


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(("n_modalities", "n_classes"), [(2, 2), (2, 5), (3, 2), (3, 5)])
def test_shapes(variant: type[Dmil], n_modalities: int, n_classes: int) -> None:
    model, inputs, _ = made(variant, n_modalities, n_classes)
    output = model.eval()(inputs)
    k = {Dmil: n_modalities + 2, DmilFc: n_modalities + 2, DmilId: n_modalities + 1, DmilCd: n_modalities + 1}[variant]
    assert len(model.component_names) == len(set(model.component_names)) == k
    assert output.logits.shape == (B, n_classes)
    assert output.components is not None
    assert output.components.shape == (k, B, n_classes)
    assert output.gate is not None
    assert output.gate.shape == (B, k)
    assert (output.gate >= 0).all()
    assert torch.allclose(output.gate.sum(1), torch.ones(B).double(), rtol=0, atol=1e-14)
    weighed = sum(output.gate[:, c : c + 1] * output.components[c] for c in range(k))
    assert torch.allclose(output.logits, torch.as_tensor(weighed), rtol=0, atol=1e-13)


@pytest.mark.parametrize("variant", VARIANTS)
def test_component_names_of_the_variants(variant: type[Dmil]) -> None:
    model, _, _ = made(variant)
    assert model.component_names == COMPONENTS[variant]


def test_which_parts_a_variant_has() -> None:
    parts = {variant: {name for name, _ in made(variant)[0].named_children()} for variant in VARIANTS}
    assert parts[Dmil] == parts[DmilFc] == {"encoders", "intra", "synergy", "consistency", "heads"}
    assert parts[DmilId] == parts[Dmil] - {"consistency"}
    assert parts[DmilCd] == parts[Dmil] - {"synergy"}
    full, plain = (dict(made(variant)[0].named_parameters()) for variant in (Dmil, DmilFc))
    for name in ("intra.bottleneck.map.weight", "consistency.shared.map.weight", "consistency.alone.map.weight"):
        assert full[name].shape[-1] == 2 * plain[name].shape[-1]  # mean and log variance against a point


@pytest.mark.parametrize("variant", VARIANTS)
def test_latent_is_the_width_of_what_a_modality_is_split_into(variant: type[Dmil]) -> None:
    """Encoders and what the decoders rebuild have ``width``; M, N, R, U and S have ``latent``."""
    model: Any = made(variant)[0]
    shapes = {name: tuple(p.shape) for name, p in model.named_parameters() if name.endswith("weight")}
    n_parameters = 1 if variant is DmilFc else 2
    rebuilt = WIDTH if variant is DmilCd else LATENT  # M_m, for which z_m stands in
    assert model.encoders.each[0][-1].weight.shape == (WIDTH, WIDTH)
    expected: dict[str, tuple[int, ...]]
    expected = {"intra.head.weight": (2, rebuilt, 3), "heads.head.weight": (len(COMPONENTS[variant]), LATENT, 3)}
    if variant is not DmilCd:
        expected |= {
            "intra.bottleneck.map.weight": (2, WIDTH, 2 * n_parameters * LATENT),
            "intra.decoder.hidden.weight": (2, 2 * LATENT, LATENT // 2),
            "intra.decoder.out.weight": (2, LATENT // 2, WIDTH),
        }
    if variant is not DmilId:
        expected |= {
            "consistency.shared.map.weight": (2 * rebuilt, n_parameters * LATENT),
            "consistency.alone.map.weight": (2, rebuilt, 2 * n_parameters * LATENT),
            "consistency.decoder.hidden.weight": (2, 2 * LATENT, LATENT // 2),
            "consistency.decoder.out.weight": (2, LATENT // 2, rebuilt),
        }
    parts = ("intra.", "consistency.", "heads.head.")
    assert {name: shape for name, shape in shapes.items() if name.startswith(parts)} == expected


def test_initial_logvar_is_read_at_construction_alone() -> None:
    model, inputs, target = made(Dmil)
    before = model.train().loss(model(inputs), target, JOINT)
    model.settings = replace(SETTINGS, initial_logvar=SETTINGS.initial_logvar + 5)
    assert torch.equal(model.loss(model(inputs), target, JOINT), before)


@pytest.mark.parametrize(("n_modalities", "n_parts"), [(2, 2 + 1), (3, 3 + 3)])
def test_synergy_sees_every_residual_and_every_product_of_two(n_modalities: int, n_parts: int) -> None:
    model, _, _ = made(Dmil, n_modalities)
    (fusion,) = model.synergy.fusion
    assert isinstance(fusion, Linear)
    assert fusion.weight.shape == (n_parts * LATENT, LATENT)
    residuals = torch.randn(n_modalities, B, LATENT, dtype=torch.float64)
    x = list(residuals)
    pairs = [x[i] * x[j] for i in range(n_modalities) for j in range(i + 1, n_modalities)]
    expected = torch.cat([*x, *pairs], 1) @ fusion.weight + fusion.bias
    assert torch.allclose(model.synergy(residuals), expected, rtol=0, atol=1e-13)


def test_one_modality_is_not_enough() -> None:
    with pytest.raises(ValueError, match="two or more modalities, but got 1: text"):
        Dmil(SETTINGS, {"text": 3}, Task())


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("epochs", [1, 2, 3, 10, 60])
def test_stages_spend_the_budget_and_no_more(variant: type[Dmil], epochs: int) -> None:
    stages = made(variant)[0].stages(epochs)
    assert sum(stage.epochs for stage in stages) == epochs
    assert all(stage.epochs > 0 for stage in stages)
    assert [stage.name for stage in stages] == ([INTRA, DECOMPOSITION, JOINT] if epochs >= 3 else [JOINT])
    assert stages[-1].trains is None
    if epochs == 60:
        assert [s.epochs for s in stages] == [SETTINGS.intra_epochs, SETTINGS.decomposition_epochs, 60 - 15]


def test_encoders_and_intra_learn_first_then_stay_frozen_in_evaluation_mode() -> None:
    model = made(Dmil)[0]
    streams = [Streams.of(0, "cpu")]
    modes = []
    for stage in model.stages(9):
        stack = Stack([model], stage, streams)
        stack.train_mode()
        training = {name for name, child in stack.module.named_children() if child.training}
        assert training == {name.split(".")[0] for name, p in stack.module.named_parameters() if p.requires_grad}
        modes.append(training)
    assert modes == [
        {"encoders", "intra"},
        {"synergy", "consistency", "heads"},
        {"encoders", "intra", "synergy", "consistency", "heads"},
    ]


class Formulas:
    """L1, L2 and L3 with one loop per modality, straight from their definitions."""

    def __init__(self, model: Any, inputs: dict[str, Tensor], target: Tensor, stage: str) -> None:
        self.model, self.target, self.stage = model, target, stage
        self.z = model.encoders(inputs)
        self.modalities = range(len(self.z))
        self.samples_level_1 = stage != DECOMPOSITION

    def gaussians(self, x: Tensor, layer: Any, n_parts: int, group: int | None, *, sampled: bool = True) -> list[Any]:
        """(mean, deviation or None, sample) of each part of a map's output: means first, then log variances."""
        linear = layer.map
        weight, bias = (linear.weight, linear.bias) if group is None else (linear.weight[group], linear.bias[group])
        columns = (x @ weight + bias).split(LATENT, 1)
        if not self.model.variational:
            return [(mean, None, mean) for mean in columns]
        pairs = zip(columns[:n_parts], columns[n_parts:], strict=True)
        return [(mean, (lv / 2).exp(), mean + EPS * (lv / 2).exp() * sampled) for mean, lv in pairs]

    def kl(self, q: Any, p: Any = None) -> Tensor:
        if not self.model.variational:
            return torch.zeros(()) if p is None else F.mse_loss(q[0], p[0]) / 2
        return kl_divergence(Normal(q[0], q[1]), Normal(0.0, 1.0) if p is None else Normal(p[0], p[1])).mean()

    def task(self, logits: Tensor) -> Tensor:
        return F.cross_entropy(logits, self.target)

    def decoded(self, decoder: Any, m: int, *parts: Tensor) -> Tensor:
        hidden = torch.cat(parts, 1) @ decoder.hidden.weight[m] + decoder.hidden.bias[m]
        return hidden.clamp(min=0) @ decoder.out.weight[m] + decoder.out.bias[m]

    def level_1(self, rec: float) -> Tensor:
        """Fills in M_m and N_m; L1."""
        intra, head = self.model.intra, self.model.intra.head
        self.predictive, self.residual, total = [], [], torch.zeros(())
        for m in self.modalities:
            if not self.model.has_intra:
                self.predictive.append((self.z[m], None, self.z[m]))
                total = total + self.task(self.z[m] @ head.weight[m] + head.bias[m])
                continue
            M, N = self.gaussians(self.z[m], intra.bottleneck, 2, m, sampled=self.samples_level_1)
            self.predictive.append(M)
            self.residual.append(N[2])
            rebuilt = self.decoded(intra.decoder, m, M[2], N[2])
            variational = self.kl(M) + self.kl(N) + rec * F.mse_loss(rebuilt, self.z[m])
            total = total + self.task(M[2] @ head.weight[m] + head.bias[m]) + SETTINGS.variational * variational
        return total

    def level_2(self, rec: float, component: float) -> Tensor:
        """L2, after level 1; keeps y."""
        components, variational, alignment = [], torch.zeros(()), torch.zeros(())
        if self.model.has_consistency:
            part, means = self.model.consistency, [M[0] for M in self.predictive]
            (R,) = self.gaussians(torch.cat(means, 1), part.shared, 1, None)
            variational = variational + self.kl(R)
            components.append(R[2])
            for m in self.modalities:
                v, U = self.gaussians(means[m], part.alone, 2, m)
                components.append(U[2])
                rebuilt = self.decoded(part.decoder, m, R[2], U[2])
                variational = variational + self.kl(U) + rec * F.mse_loss(rebuilt, means[m])
                alignment = alignment + self.kl(R, v)
        else:
            components += [M[2] for M in self.predictive]
        if self.model.has_intra:
            n_1, n_2 = self.residual
            (fusion,) = self.model.synergy.fusion
            components.append(torch.cat([n_1, n_2, n_1 * n_2], 1) @ fusion.weight + fusion.bias)
        heads = self.model.heads
        y_c = [c @ heads.head.weight[k] + heads.head.bias[k] for k, c in enumerate(components)]
        gate = heads.gate(torch.cat(components, 1)).softmax(1)
        self.y = sum((gate[:, k : k + 1] * y for k, y in enumerate(y_c)), torch.zeros(()))
        total = self.task(self.y) + component * sum(self.task(y) for y in y_c)
        return total + SETTINGS.variational * variational + SETTINGS.alignment * alignment

    def loss(self) -> Tensor:
        rec = SETTINGS.reconstruction_joint if self.stage == JOINT else SETTINGS.reconstruction
        first = self.level_1(rec)
        if self.stage == INTRA:
            return first
        second = self.level_2(rec, SETTINGS.component_joint if self.stage == JOINT else SETTINGS.component)
        if self.stage == DECOMPOSITION:
            return second
        return self.task(self.y) + SETTINGS.beta * first + SETTINGS.gamma * second


@pytest.mark.parametrize("stage", [INTRA, DECOMPOSITION, JOINT])
@pytest.mark.parametrize("variant", VARIANTS)
def test_losses_are_their_formulas(variant: type[Dmil], stage: str) -> None:
    model, inputs, target = made(variant)
    model.stage = stage
    model.train()
    for child in (model.encoders, model.intra):
        child.train(stage != DECOMPOSITION)
    loss = model.loss(model(inputs), target, stage)
    assert loss.shape == ()
    assert loss.item() == pytest.approx(Formulas(model, inputs, target, stage).loss().item(), rel=0, abs=1e-12)


@pytest.mark.parametrize("variant", VARIANTS)
def test_first_stage_predicts_the_mean_of_the_unimodal_heads(variant: type[Dmil]) -> None:
    model, inputs, _ = made(variant)
    model.stage = INTRA
    output = model.eval()(inputs)
    z = model.encoders(inputs)
    if variant is DmilCd:
        M = z
    else:
        maps: Any = model.intra.get_submodule("bottleneck.map")
        M = [z[m] @ maps.weight[m][:, :LATENT] + maps.bias[m][:LATENT] for m in range(2)]
    head = model.intra.head
    heads = [M[m] @ head.weight[m] + head.bias[m] for m in range(2)]
    assert torch.allclose(output.logits, (heads[0] + heads[1]) / 2, rtol=0, atol=1e-13)


@pytest.mark.parametrize("variant", VARIANTS)
def test_evaluation_uses_means_and_is_the_same_twice(variant: type[Dmil]) -> None:
    model, inputs, _ = made(variant)
    model.eval()
    attach_noise(model, Noise())
    assert torch.equal(model(inputs).logits, model(inputs).logits)
