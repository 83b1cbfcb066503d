"""Sort-of-CLEVR: scenes and answers by hand, the error of the public generator, what chance and counting reach."""

from __future__ import annotations

from importlib import import_module
from math import comb

import pytest
import torch
from torch import Tensor

from benchmarks import registry
from dmil.data import Split, Splits
from reports.interactions import owners_of

sort_of_clevr = import_module("benchmarks.datasets.sort_of_clevr")
scenes = import_module("benchmarks.datasets._sort_draw")

PUBLIC_MASK = 999  # what the common generator takes for further than anything; 70 columns and rows apart is 9,800


@pytest.fixture(scope="module")
def splits() -> Splits:
    return registry.load_dataset("sort-of-clevr")


def scene(*objects: tuple[int, int, str]) -> object:
    """One scene: column, row and shape of red, green, blue, orange, grey and yellow."""
    centres = torch.tensor([[(x, y) for x, y, _ in objects]])
    return scenes.Scenes(centres, torch.tensor([[shape == "circle" for *_, shape in objects]]))


def said(of: object) -> dict[str, str]:
    """Question -> its answer in the one scene, those that have none left out."""
    found = scenes.answers(of)[0].tolist()
    return {
        question: scenes.ANSWERS[answer]
        for question, answer in zip(scenes.QUESTIONS, found, strict=True)
        if answer != scenes.UNDECIDED
    }


FAR = scene(
    (5, 5, "square"), (69, 69, "circle"), (69, 50, "circle"), (50, 69, "circle"), (60, 40, "circle"), (40, 60, "square")
)


def test_answers_by_hand() -> None:
    """Grey and yellow are closest to red, equally far (3025 + 1225), and of different shapes: that is not asked."""
    found = said(FAR)
    assert len(found) == 35
    assert "red-closest" not in found
    assert [found[f"red-{what}"] for what in ("shape", "left", "top", "furthest", "count")] == [
        "square", "yes", "yes", "circle", "1",
    ]  # fmt: skip
    assert [found[f"blue-{what}"] for what in ("shape", "left", "top", "closest", "furthest", "count")] == [
        "circle", "no", "no", "circle", "square", "3",
    ]  # fmt: skip
    # orange: yellow is 10 columns and 9 rows away (181), green 19 columns (361); red 45 and 64
    assert (found["orange-closest"], found["orange-furthest"]) == ("square", "square")


@pytest.mark.parametrize(("centre", "answer"), [(37, "yes"), (38, "no")])
def test_the_middle_pixel_is_left_and_top(centre: int, answer: str) -> None:
    """Of 75 columns and rows, 0 to 74, the middle one is 37: less than 37.5."""
    others = [(5 + 12 * i, 5, "square") for i in range(5)]
    found = said(scene((centre, centre, "square"), *others))
    assert (found["red-left"], found["red-top"]) == (answer, answer)


def test_no_object_is_the_closest_to_itself() -> None:
    """Red is a square, all others are circles and more than 31 pixels away: the public mask lets red itself win."""
    alone = scene(
        (5, 5, "square"),
        (69, 69, "circle"),
        (69, 50, "circle"),
        (50, 69, "circle"),
        (60, 40, "circle"),
        (40, 60, "circle"),
    )
    assert said(alone)["red-closest"] == "circle"
    public, itself = public_closest(alone)
    assert bool(itself[0, 0])
    assert scenes.ANSWERS[int(public[0, 0])] == "square"


def test_how_often_the_public_generator_errs_and_that_this_one_does_not() -> None:
    drawn = scenes.draw(20_000, torch.Generator().manual_seed(0))
    closest = scenes.answers(drawn)[:, 18:24]
    public, itself = public_closest(drawn)
    decided = closest != scenes.UNDECIDED
    wrong = (public != closest) & decided
    assert 0.065 < itself.double().mean() < 0.073
    assert 0.032 < wrong.double().mean() < 0.037
    assert (wrong <= itself).all()  # where no object was its own neighbour, both agree
    assert not decided.all()
    assert decided.double().mean() > 0.99


def public_closest(drawn: object) -> tuple[Tensor, Tensor]:
    """The answer to "closest" as the public generator gives it, and where it takes an object for its own neighbour."""
    apart = torch.cdist(drawn.centres.double(), drawn.centres.double()).square().round()  # type: ignore[attr-defined]
    nearest = (apart + PUBLIC_MASK * torch.eye(6)).argmin(-1)
    answer = scenes.SQUARE + drawn.is_circle.long().gather(1, nearest)  # type: ignore[attr-defined]
    return answer, nearest == torch.arange(6)


def test_a_scene_is_painted() -> None:
    image = scenes.paint(FAR)[0]
    assert (image.shape, image.dtype) == ((3, 75, 75), torch.uint8)
    assert image[:, :11, :11].flatten(1).unique(dim=1).flatten().tolist() == [
        255,
        0,
        0,
    ]  # the whole of a square of 11 pixels
    assert image[:, 11, 11].tolist() == [255, 255, 255]
    grey = (image == 128).all(0)
    rows, columns = grey.nonzero().unbind(-1)
    assert (columns.min(), columns.max(), rows.min(), rows.max()) == (55, 65, 35, 45)
    assert not grey[35, 55]  # a circle has no corners
    assert int(grey.sum()) == sum(x * x + y * y <= 30 for x in range(-5, 6) for y in range(-5, 6)) == 97
    assert image[:, 69, 50].tolist() == [255, 156, 0]


def test_scenes_keep_their_distance_and_stay_inside() -> None:
    drawn = scenes.draw(2000, torch.Generator().manual_seed(1))
    assert (drawn.centres.min(), drawn.centres.max()) == (5, 69)
    apart = torch.cdist(drawn.centres.double(), drawn.centres.double()).square()
    assert apart[:, ~torch.eye(6, dtype=torch.bool)].min() >= 99.9
    assert 0.48 < drawn.is_circle.double().mean() < 0.52


def test_protocol(splits: Splits) -> None:
    for part, split in splits.parts().items():
        n = {"train": 9000, "valid": 800, "test": 1000}[part]
        assert len(split) == 20 * n
        assert (split.inputs["image"].shape, split.inputs["image"].dtype) == ((n, 3, 75, 75), torch.uint8)
        assert split.rows["image"].tolist() == [i // 20 for i in range(20 * n)]
        assert split.groups == tuple(f"{part}-{i // 20:04d}" for i in range(20 * n))
        assert split.truth is not None
        assert split.truth.reshape(n, 20).unique(dim=0).tolist() == [[0] * 10 + [1] * 10]
        question = split.inputs["question"]
        assert [block.sum(1).unique().tolist() for block in question.split([6, 2, 3], 1)] == [[1.0]] * 3
        assert question[:, 6:8].argmax(1).tolist() == split.truth.tolist()
        assert int(split.target.min()) == 0  # none is undecided
    images = [image.numpy().tobytes() for split in splits.parts().values() for image in split.inputs["image"]]
    assert len(set(images)) == len(images) == 10_800  # none comes twice


def test_answers_about_grey_can_be_read_off_the_image(splits: Splits) -> None:
    """No other colour has its value. A circle has 97 pixels and a square 121, where yellow does not cover a part."""
    test, names = splits.test, splits.task.class_names
    grey = (test.inputs["image"] == 128).all(1)
    n_read = 0
    for i, name in enumerate(test.ids):
        mask = grey[int(test.rows["image"][i])]
        question = name.rpartition("grey-")[2]
        if question not in ("shape", "left", "top") or int(mask.sum()) not in (97, 121):
            continue
        row, column = mask.nonzero().double().mean(0).tolist()
        shape = "circle" if int(mask.sum()) == 97 else "square"
        sides = {"left": column < 37.5, "top": row < 37.5}
        assert names[int(test.target[i])] == (shape if question == "shape" else "yes" if sides[question] else "no")
        n_read += 1
    assert n_read > 1000


def majority(train: Split, test: Split) -> list[float]:
    """Test accuracy by kind of the most common answer to each question."""
    keys = [split.inputs["question"] @ (2.0 ** torch.arange(11)) for split in (train, test)]
    _, index = torch.cat(keys).unique(return_inverse=True)
    asked, again = index.tensor_split([len(train)])
    counts = torch.zeros(36, 10).index_put_((asked, train.target), torch.tensor(1.0), accumulate=True)
    assert test.truth is not None
    right = (counts.argmax(1)[again] == test.target).double()
    return [float(right[test.truth == kind].mean()) for kind in (0, 1)]


def test_the_question_alone_is_at_its_known_chance(splits: Splits) -> None:
    """The card's numbers; four standard errors of 1,000 images of ten questions leave 0.02."""
    non_relational, relational = (1 / 2 + 2 * 33 / 65) / 3, (1 / 2 + 1 / 2 + comb(5, 2) / 2**5) / 3
    assert (round(non_relational, 3), round(relational, 4)) == (0.505, 0.4375)
    found = majority(splits.train, splits.test)
    assert found == pytest.approx([non_relational, relational], abs=0.02)
    assert "0.505" in splits.card.traps[0]
    assert "0.438" in splits.card.traps[0]
    assert splits.card.bayes_accuracy is None


def test_what_counting_reaches_by_hand(splits: Splits) -> None:
    """k of six objects are circles, or j of the other five."""
    six, five = [comb(6, k) / 2**6 for k in range(7)], [comb(5, j) / 2**5 for j in range(6)]
    most = sum(share * max(k, 6 - k) / 6 for k, share in enumerate(six))
    number = sum(share * (1 if k == 3 else max(k, 6 - k) / 6) for k, share in enumerate(six))
    neighbour = sum(share * max(j, 5 - j) / 5 for j, share in enumerate(five))
    numbers = [most, (2 * most + number) / 3, (2 * neighbour + 1) / 3]
    assert all(f"{value:.3f}" in splits.card.traps[1] for value in numbers)


def test_kinds_of_questions_own_no_component() -> None:
    """They are no compositions, so a report shows accuracy by kind and no attribution."""
    assert sort_of_clevr.CARD.truth_names == ("non-relational", "relational")
    assert owners_of(("R", "U_image", "U_question", "S"), sort_of_clevr.CARD.truth_names) == {}
    assert owners_of(("R", "U_image", "U_question", "S"), ()) != {}
