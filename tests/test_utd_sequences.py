"""Series of different lengths as one tensor, by hand; UTD-MHAD as sequences."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest
import torch

from benchmarks import registry

Require = Callable[[Path], Path]

sequence = import_module("benchmarks.datasets._sequence")
scaling = import_module("benchmarks.datasets._scaling")
utd_mhad_seq = import_module("benchmarks.datasets.utd_mhad_seq")


def test_padding_by_hand() -> None:
    series = [torch.tensor([[1.0, 2], [3, 4]]), torch.tensor([[5.0, 6]])]
    expected = [[[1, 2, 1], [3, 4, 1]], [[5, 6, 1], [0, 0, 0]]]
    assert sequence.pad(series).tolist() == expected
    assert sequence.pad(series, 3).tolist() == [[*rows, [0, 0, 0]] for rows in expected]
    with pytest.raises(ValueError, match="a series has 2 steps, but 1 are allowed"):
        sequence.pad(series, 1)
    with pytest.raises(ValueError, match="one step or more"):
        sequence.pad([torch.zeros(0, 2)])


def test_shortening_and_summarising_by_hand() -> None:
    """Five steps in two segments are the first three and the last two."""
    series = torch.tensor([[0.0], [3], [6], [10], [14]])
    assert sequence.shortened(series, 2).tolist() == [[3], [12]]
    assert sequence.shortened(series, 5) is series
    torch.testing.assert_close(sequence.summarised(series, 2), torch.tensor([[3, 6**0.5], [12, 2]]))


def test_sequences_are_standardised_over_the_training_steps_that_exist() -> None:
    """Training steps are 0, 2, 4 of deviation sqrt(8 / 3), and a constant; padding counts for nothing and stays 0."""
    train = sequence.pad([torch.tensor([[0.0, 7], [2, 7]]), torch.tensor([[4.0, 7]])])
    test = sequence.pad([torch.tensor([[1e6, 9.0]]), torch.tensor([[2.0, 7], [3, 8]])])
    found = scaling.standardised({"train": train, "test": test})
    unit = (8 / 3) ** 0.5
    expected = torch.tensor([[[-2 / unit, 0, 1], [0, 0, 1]], [[2 / unit, 0, 1], [0, 0, 0]]])
    torch.testing.assert_close(found["train"], expected)
    expected = torch.tensor([[[5, 0, 1], [0, 0, 0]], [[0, 0, 1], [1 / unit, 0, 1]]])
    torch.testing.assert_close(found["test"], expected)


def test_the_axes_of_a_block_share_one_deviation() -> None:
    """Variances 1 and 9 in the first block are 5 together; the second block has 4 and 0."""
    values = torch.tensor([[-1.0, -3, 2, 6], [1, 3, -2, 6]]).double()
    train = sequence.pad([values])
    found = scaling.standardised({"train": train}, n_blocks=2)["train"][0, :, :-1].double()
    expected = (values - values.mean(0)) / torch.tensor([5, 5, 2, 2]).double().sqrt()
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


def test_large_inputs_are_scaled_as_a_whole() -> None:
    """More rows than are taken at once; images by channel, 8-bit numbers not at all."""
    n = scaling.AT_ONCE + 3
    images = torch.arange(n * 2 * 6, dtype=torch.float64).view(n, 2, 2, 3)
    found = scaling.standardised({"train": images})["train"].double()
    flat = images.transpose(0, 1).flatten(1)
    expected = (flat - flat.mean(1, keepdim=True)) / flat.std(1, correction=0, keepdim=True)
    torch.testing.assert_close(found.transpose(0, 1).flatten(1), expected, atol=1e-6, rtol=0)
    pixels = torch.zeros(2, 1, 2, 2, dtype=torch.uint8)
    assert scaling.standardised({"train": pixels})["train"] is pixels


def test_movement_forgets_size_and_pose() -> None:
    rng = torch.Generator().manual_seed(0)
    skeleton = torch.randn(40, 20, 3, generator=rng, dtype=torch.float64)
    pose = torch.randn(20, 3, generator=rng, dtype=torch.float64)
    found = utd_mhad_seq.movement(skeleton)
    assert found.shape == (40, 60)
    assert float(found.square().mean()) == pytest.approx(1)
    torch.testing.assert_close(utd_mhad_seq.movement(3 * skeleton + pose), found)


def test_the_sequences_are_those_of_the_clips_of_utd_mhad(data_root: Path, require: Require) -> None:
    require(data_root / "utd_mhad")
    steps, statistics = (registry.load_dataset(name) for name in ("utd_mhad-seq", "utd_mhad"))
    for one, other in zip(steps.parts().values(), statistics.parts().values(), strict=True):
        assert (one.ids, one.groups) == (other.ids, other.groups)
        assert torch.equal(one.target, other.target)
    assert steps.train.shapes == {"accelerometer": (16, 7), "gyroscope": (16, 7), "skeleton": (16, 121)}
    for x in steps.train.inputs.values():
        assert (x[..., -1] == 1).all()
        assert x[..., :-1].abs().max() <= 5
        for block in x[..., :-1].double().chunk(2, -1):
            assert float(block.square().mean()) == pytest.approx(1, abs=0.3)  # but for what is clipped
            unclipped = block.abs().amax((0, 1)) < 5
            assert (block.mean((0, 1))[unclipped].abs() < 1e-6).all()
