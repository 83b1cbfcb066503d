"""The representation of every method: what its prediction is read from, and when it is there."""

from __future__ import annotations

import pytest
import torch

from benchmarks.methods import FIELD, METHODS
from dmil import Method, Split, predict
from dmil.method import Output
from dmil.model import Dmil
from tests.made_problems import NAMES, Problem, made_problem
from tests.test_methods import made_ensemble, trained

LINEAR = ("unimodal", "joint", "joint_mlp", "late_fusion", "late_fusion_learned")


def representation_of(name: str, *, n_modalities: int = 2) -> tuple[Method, Output, Problem]:
    problem = made_problem(n_modalities)
    problem = problem.only(NAMES[0]) if name == "unimodal" else problem
    model = made_ensemble(problem)[0] if name == "ensemble" else trained(name, problem, epochs=1)
    return model, predict(model, problem.valid, representation=True), problem


@pytest.mark.parametrize(
    ("name", "n_modalities"),
    [pytest.param(name, n, marks=[pytest.mark.slow] * (name in FIELD and n == 3)) for name in METHODS for n in (2, 3)],
)
def test_a_representation_is_there_in_evaluation_mode_when_asked_for(name: str, n_modalities: int) -> None:
    if METHODS[name].unfit(made_problem(n_modalities).train.dims, made_problem().task):
        return
    model, output, problem = representation_of(name, n_modalities=n_modalities)
    assert predict(model, problem.valid).representation is None
    assert model.train()(problem.valid.to("cpu", torch.float32).inputs).representation is None
    if not model.has_representation:
        assert output.representation is None
        return
    assert output.representation is not None
    assert output.representation.dim() == 2
    assert len(output.representation) == 60
    assert not output.representation.requires_grad
    some = Split({m: x[7:9] for m, x in problem.valid.inputs.items()}, problem.valid.target[7:9])
    alone = predict(model, some, representation=True).representation
    assert alone is not None
    assert torch.allclose(alone, output.representation[7:9], atol=1e-6)


@pytest.mark.parametrize("name", LINEAR)
def test_logits_are_linear_in_the_representation(name: str) -> None:
    _, output, _ = representation_of(name, n_modalities=3)
    assert output.representation is not None
    features = output.representation.double()
    design = torch.cat([features - features.mean(0), torch.ones(60, 1).double()], 1)
    fitted = torch.linalg.lstsq(design, output.logits.double(), driver="gelsd").solution
    assert torch.allclose(design @ fitted, output.logits.double(), atol=1e-5)


@pytest.mark.parametrize("name", ["dmil", "dmil_fc", "dmil_id", "dmil_cd", "dmil_pid"])
def test_the_representation_of_dmil_is_its_components_side_by_side(name: str) -> None:
    model, output, _ = representation_of(name, n_modalities=3)
    assert output.representation is not None
    assert isinstance(model, Dmil)
    parts = torch.stack(output.representation.chunk(len(model.component_names), -1))
    assert output.components is not None
    assert torch.allclose(model.heads.head(parts), output.components, atol=1e-6)


def test_the_representation_of_an_ensemble_is_that_of_its_members() -> None:
    problem = made_problem()
    model, members = made_ensemble(problem)
    output = predict(model, problem.valid, representation=True)
    alone = [predict(m, problem.only(*m.modalities).valid, representation=True).representation for m in members]
    assert output.representation is not None
    assert [part.shape[-1] for part in alone if part is not None] == [5, 7]
    assert torch.equal(output.representation, torch.cat([part for part in alone if part is not None], -1))
