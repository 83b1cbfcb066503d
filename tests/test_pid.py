"""dmil_pid: compositions by hand, the losses against loops, and each ablation without exactly its own part."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from benchmarks.registry import load_dataset
from dmil.data import Split, Task
from dmil.method import Output
from dmil.model import DECOMPOSITION, INTRA, JOINT
from dmil.pid import (
    DmilPid,
    DmilPidEven,
    DmilPidFree,
    DmilPidLate,
    DmilPidMlpGate,
    DmilPidNoisy,
    DmilPidSettings,
)
from dmil.selection import Budget
from dmil.train import Replica, fit, predict

R, U1, U2, S = range(4)
SURE, UNSURE, WRONG = 0.95, 0.5, 0.05


def made_model(cls: type[DmilPid] = DmilPid, *, n_modalities: int = 2, task: Task | None = None) -> DmilPid:
    """Two balanced classes, or targets 0, 1, 2 of a regression."""
    torch.manual_seed(0)
    task = task or Task(n_classes=2)
    model = cls(DmilPidSettings(width=8, latent=4), {f"x{m + 1}": 3 for m in range(n_modalities)}, task)
    target = torch.tensor([0.0, 1.0, 2.0]) if task.kind == "regression" else torch.tensor([0, 1, 0, 1])
    model.prepare(Split({"x1": torch.zeros(len(target), 3)}, target))
    return model


def logits_of(*probabilities: float) -> Tensor:
    """Logits (B, 2) whose class 0 has the given probabilities."""
    p = torch.tensor(probabilities)
    return torch.stack([p, 1 - p], -1).log()


def said(alone: list[tuple[float, ...]], together: tuple[float, ...]) -> Output:
    """What the unimodal heads and the head of S give to class 0, one number per sample."""
    heads = torch.stack([logits_of(*p) for p in alone])
    components = torch.zeros(len(alone) + 2, len(together), 2)
    components[-1] = logits_of(*together)
    gate = torch.full((len(together), len(alone) + 2), 1 / (len(alone) + 2))
    return Output(torch.zeros(len(together), 2), components, gate, {"unimodal": heads})


def test_composition_is_what_explains_most_of_the_label() -> None:
    output = said(
        [(SURE, SURE, UNSURE, UNSURE, WRONG, 0.9), (SURE, UNSURE, 0.9, UNSURE, WRONG, 0.6)],
        (SURE, SURE, SURE, 0.9, WRONG, 0.9),
    )
    index, is_known = made_model().composition(output, torch.zeros(6, dtype=torch.int64))
    assert index[:4].tolist() == [R, U1, U2, S]
    assert is_known.tolist() == [True, True, True, True, False, True]
    # The last: shared log(.6/.5) = .182, unique to x1 log(.9/.6) = .405.
    assert index[5].item() == U1


def test_what_two_of_three_modalities_say_is_redundant() -> None:
    output = said([(SURE,), (SURE,), (UNSURE,)], (SURE,))
    index, _ = made_model(n_modalities=3).composition(output, torch.zeros(1, dtype=torch.int64))
    assert index.tolist() == [R]


def test_information_is_measured_against_the_frequency_of_the_class() -> None:
    model = made_model()
    model.prepare(Split({"x1": torch.zeros(98, 3)}, torch.tensor([0] * 88 + [1] * 10)))
    frequency = torch.tensor([89 / 100, 11 / 100]).log()
    assert torch.allclose(model.reference, frequency)
    output = said([(0.85, 0.85), (0.85, 0.85)], (0.85, 0.85))
    _, is_known = model.composition(output, torch.tensor([0, 1]))
    assert is_known.tolist() == [False, True]  # 0.85 is less than 0.89 for class 0, 0.15 more than 0.11 for class 1


def test_log_likelihood_of_a_regression_is_that_of_a_laplace_distribution() -> None:
    model = made_model(task=Task("regression"))
    assert model.reference.tolist() == pytest.approx([1.0, 2 / 3])  # the median, the mean distance from it
    logits, target = torch.tensor([[0.5], [2.0]]), torch.tensor([0.0, 2.0])
    assert model.log_likelihood(logits, target).tolist() == pytest.approx([-0.75, 0.0])
    assert model._prior(target).tolist() == pytest.approx([-1.5, -1.5])


def loss_by_loop(model: DmilPid, output: Output, target: Tensor, component: float) -> float:
    """Gate cross-entropy and specialists' shift of every sample, one after another."""
    assert output.components is not None
    assert output.gate is not None
    index, is_known = model.composition(output, target)
    total = 0.0
    for b in range(len(target)):
        if is_known[b]:
            losses = [-output.components[c, b].log_softmax(-1)[target[b]].item() for c in range(len(output.components))]
            total -= model.settings.composition * math.log(output.gate[b, index[b]].item())
            total += component * model.settings.specialise * (len(losses) * losses[index[b]] - sum(losses))
    return total / len(target)


def test_added_losses_are_those_of_a_loop() -> None:
    model = made_model().train()
    model.stage = JOINT
    torch.manual_seed(3)
    inputs = {"x1": torch.randn(9, 3), "x2": torch.randn(9, 3)}
    target = torch.randint(2, (9,))
    output = model(inputs)
    plain = super(DmilPid, model)._decomposition_loss(output, target, 0.05, 0.8)
    added = model._decomposition_loss(output, target, 0.05, 0.8) - plain
    assert added.item() == pytest.approx(loss_by_loop(model, output, target, 0.8), abs=1e-5)


def test_composition_is_no_way_for_gradients() -> None:
    output = said([(SURE, UNSURE), (UNSURE, SURE)], (SURE, SURE))
    assert output.gate is not None
    assert output.components is not None
    for tensor in (output.gate, output.components, output.extra["unimodal"]):
        tensor.requires_grad_(True)
    output.extra |= {name: torch.zeros(()) for name in ("kl", "reconstruction", "alignment")}
    made_model(DmilPidEven)._decomposition_loss(output, torch.zeros(2, dtype=torch.int64), 0.05, 0.0).backward()
    assert output.extra["unimodal"].grad is None
    assert output.gate.grad is not None
    assert (output.gate.grad != 0).sum(-1).tolist() == [1, 1]


def test_synergy_of_the_first_stage_learns_what_no_modality_says() -> None:
    model = made_model()
    target = torch.zeros(2, dtype=torch.int64)
    terms = {"intra_kl": torch.zeros(()), "intra_reconstruction": torch.zeros(())}
    known = logits_of(1.0 - 1e-7, UNSURE)
    synergy = logits_of(0.3, 0.8).requires_grad_(True)
    extra = {"unimodal": torch.stack([known, logits_of(UNSURE, UNSURE)]), "synergy": synergy}
    model._intra_loss(Output(known, extra=terms | extra), target, 0.1).backward()
    assert synergy.grad is not None
    assert synergy.grad[0].abs().max().item() < 1e-5
    assert synergy.grad[1, 0].item() == pytest.approx(-0.2, abs=1e-5)


@pytest.mark.parametrize("cls", [DmilPid, DmilPidLate])
def test_first_stage_trains_the_synergy_but_for_the_late_one(cls: type[DmilPid]) -> None:
    stages = {stage.name: stage.trains for stage in made_model(cls).stages(60)}
    is_late = cls is DmilPidLate
    assert stages[INTRA] == (("encoders", "intra") if is_late else ("encoders", "intra", "synergy", "heads"))
    assert stages[DECOMPOSITION] == ("synergy", "consistency", "heads")
    model = made_model(cls).train()
    model.stage = INTRA
    inputs = {"x1": torch.randn(4, 3), "x2": torch.randn(4, 3)}
    model.loss(model(inputs), torch.tensor([0, 1, 1, 0]), INTRA).backward()
    gradient = model.synergy.fusion[-1].weight.grad
    assert (gradient is None) == is_late


def test_gate_is_linear_in_the_parts_of_the_modalities_or_the_paper_s_own() -> None:
    assert [tuple(p.shape) for p in made_model().heads.gate.parameters()] == [(2 * 2 * 4, 4), (4,)]
    assert [tuple(p.shape) for p in made_model(DmilPidMlpGate).heads.gate.parameters()] == [(16, 4), (4,), (4, 4), (4,)]


def test_residuals_start_with_little_noise_and_are_normalised() -> None:
    clear, noisy = made_model(), made_model(DmilPidNoisy)
    name = "intra.bottleneck.map.bias"
    shift = noisy.get_parameter(name) - clear.get_parameter(name)
    assert torch.allclose(shift, torch.tensor([0.0] * 12 + [8.0] * 4).expand(2, -1), atol=1e-5)
    residuals = torch.randn(2, 5, 4)
    assert torch.allclose(clear.synergy(residuals), clear.synergy(100 * residuals + 3), atol=1e-4)
    assert not torch.allclose(noisy.synergy(residuals), noisy.synergy(100 * residuals + 3), atol=1e-1)


def test_free_gate_is_not_told_the_composition() -> None:
    output = said([(SURE, UNSURE), (UNSURE, SURE)], (SURE, SURE))
    output.extra |= {name: torch.zeros(()) for name in ("kl", "reconstruction", "alignment")}
    target = torch.zeros(2, dtype=torch.int64)
    told, free = (made_model(cls)._decomposition_loss(output, target, 0.05, 0.0) for cls in (DmilPid, DmilPidFree))
    assert (told - free).item() == pytest.approx(math.log(4), abs=1e-5)


@pytest.mark.slow
def test_learns_the_synergy_and_reads_the_composition() -> None:
    splits = load_dataset("interactions-mixed")
    replicas = [Replica(seed, DmilPidSettings(batch_size=128)) for seed in range(2)]
    results = fit(DmilPid, splits.train, splits.valid, splits.task, replicas=replicas, budget=Budget(epochs=40))
    assert splits.valid.truth is not None
    for result in results:
        gate = predict(result.method, splits.valid).gate
        assert gate is not None
        assert result.best["valid/acc"] > 0.9
        assert (gate.argmax(-1) == splits.valid.truth).double().mean().item() > 0.875
