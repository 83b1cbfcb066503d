"""Accuracy against cost: the front, the axes, and names that never lie over each other."""

from __future__ import annotations

import random
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from reports.across_page import to_html
from reports.pareto import COSTS, LEFT, RIGHT, WIDTH, Cost, LogAxis, compact, front, panels
from reports.placement import Box, Label, Point, place
from reports.table import Table
from tests.made_across import VALID, across_of, runs

SECONDS, PARAMETERS = COSTS


def table_of(folder: Path, *rows: tuple[str, float, float | None]) -> Table:
    """Methods with their accuracy and training seconds."""
    records = []
    for method, accuracy, seconds in rows:
        for run in runs("a", VALID, **{method: [accuracy, accuracy, accuracy]}):
            metrics = {name: value for name, value in run.metrics.items() if name != "train_seconds"}
            cost = {} if seconds is None else {"train_seconds": seconds}
            records.append(replace(run, metrics=metrics | cost))
    return across_of(folder, records).tables[0]


def on_front(table: Table, cost: Cost = SECONDS) -> list[str]:
    return [line.method for line in front([line for line in table.lines if line.rank], cost)]


def test_the_front_holds_what_nothing_cheaper_beats(tmp_path: Path) -> None:
    table = table_of(
        tmp_path,
        ("joint", 0.7, 1.0),
        ("late_fusion", 0.7, 2.0),
        ("ensemble", 0.8, 4.0),
        ("dmil", 0.9, 8.0),
        ("dmil_fc", 0.85, 9.0),
    )
    assert on_front(table) == ["joint", "ensemble", "dmil"]
    assert on_front(table, PARAMETERS) == ["dmil"], "all have as many"


def test_of_two_that_are_alike_one_is_on_the_front(tmp_path: Path) -> None:
    assert on_front(table_of(tmp_path, ("joint", 0.7, 1.0), ("dmil", 0.7, 1.0))) == ["dmil"]
    assert on_front(table_of(tmp_path, ("joint", 0.7, 1.0), ("dmil", 0.7 + 1e-15, 2.0))) == ["joint"]


def test_a_row_without_a_cost_is_named_and_one_far_below_too(tmp_path: Path) -> None:
    rows = [("joint", 0.78, 3.0), ("dmil", 0.77, 5.0), ("late_fusion", 0.775, 4.0), ("unimodal_audio", 0.5, 1.0)]
    table = table_of(tmp_path, *rows, ("ensemble", 0.76, None), ("dmil_fc", 0.77, 0.0))
    seconds, parameters = panels(table)
    assert [point["title"].split()[0] for point in seconds["points"]] == ["joint", "late_fusion", "dmil"]
    assert seconds["notes"][0].startswith("Below the scale: unimodal_audio 50.0 %")
    assert seconds["notes"][1:] == ["Without a recorded cost: dmil_fc", "Without a recorded cost: ensemble"]
    assert [point["is_best"] for point in seconds["points"]] == [True, False, False]
    assert seconds["description"].endswith("On the Pareto front: unimodal_audio, joint")
    assert len(parameters["points"]) == 5


def test_stairs_lead_from_front_to_front(tmp_path: Path) -> None:
    table = table_of(tmp_path, ("joint", 0.7, 1.0), ("dmil", 0.9, 10.0))
    panel, _ = panels(table)
    cheap, dear = sorted(panel["points"], key=lambda point: float(point["x"]))
    assert panel["front"] == [
        (cheap["x"], cheap["y"], dear["x"], cheap["y"]),
        (dear["x"], cheap["y"], dear["x"], dear["y"]),
        (dear["x"], dear["y"], RIGHT, dear["y"]),
    ]
    # 1 / 1.15 to 11.5 on a logarithmic scale
    assert cheap["x"] == pytest.approx(LEFT + (RIGHT - LEFT) * 0.0541, abs=0.02)
    assert cheap["x"] - LEFT == pytest.approx(RIGHT - dear["x"], abs=0.01)
    assert dear["y"] < cheap["y"], "better is higher"


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.9, 1100, [1, 10, 100, 1000]),
        (0.9, 35, [1, 3, 10, 30]),
        (3.9, 21, [5, 10, 20]),
        (10, 13, [10, 11, 12, 13]),
        (9.9, 17, [10, 12, 14, 16]),
    ],
)
def test_ticks_are_round(low: float, high: float, ticks: list[float]) -> None:
    assert LogAxis(low, high).ticks == pytest.approx(ticks)


def test_costs_are_written_short() -> None:
    assert [compact(value) for value in (950, 12_345, 1_500_000)] == ["950", "12.3 k", "1.5 M"]


def stretched(box: Box, factor: float) -> Box:
    """Where a box is in a plot that is wider by a factor: what is anchored moves, pixels stay."""
    shift = box.anchor * (factor - 1)
    return replace(box, left=box.left + shift, right=box.right + shift)


def touches(one: Box, other: Box) -> bool:
    return one.left < other.right and other.left < one.right and one.top < other.bottom and other.top < one.bottom


@pytest.mark.parametrize("seed", range(6))
def test_names_never_touch_at_any_width(seed: int) -> None:
    """Sixteen names in tight clusters, with ticks in the way."""
    draw = random.Random(seed)
    centres = [(draw.uniform(60, 290), draw.uniform(40, 260)) for _ in range(3)]
    points = []
    for i in range(16):
        x, y = draw.choice(centres)
        name = "".join(draw.choice("dmil_fusion") for _ in range(draw.randint(4, 19)))
        points.append(
            Point(min(max(x + draw.gauss(0, 12), 40), 305), min(max(y + draw.gauss(0, 8), 12), 280), f"{i}{name}")
        )
    ticks = [Box(0, 0, 32, y - 13, y) for y in (50, 130, 210)]
    labels = place(points, ticks, width=320, height=420)
    assert labels
    assert [label.point for label in labels] == points
    for factor in (1, 1.1, 1.3, 1.7, 2.5, 4):
        boxes = [stretched(label.box, factor) for label in labels]
        fixed = [stretched(box, factor) for box in (*ticks, *(point.marker for point in points))]
        assert not any(touches(one, other) for i, one in enumerate(boxes) for other in boxes[:i]), factor
        assert not any(touches(box, other) for box in boxes for other in fixed), factor
        assert all(box.left >= 0 and box.right <= 320 * factor and box.top >= 0 and box.bottom <= 420 for box in boxes)


def test_a_lonely_name_is_beside_its_point_and_a_full_plot_has_no_room() -> None:
    points = [Point(100, 100, "dmil"), Point(305, 100, "dmil")]
    first, last = place(points[:1], [], width=320, height=200), place(points[1:], [], width=320, height=200)
    assert first == [Label(points[0], 9.0, 0.0, "start")]
    assert not first[0].has_leader
    assert last
    assert last[0].anchor == "end", "no room on the right"
    assert place([Point(100, 10 + i, f"method_{i}") for i in range(9)], [], width=320, height=60) is None


def test_a_crowded_plot_grows_until_all_names_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reports.pareto.HEIGHT", 60.0)
    few = table_of(tmp_path, ("joint", 0.7, 2.0), ("dmil", 0.7, 2.0))
    many = table_of(tmp_path, *((f"a_method_with_a_rather_long_name_{i}", 0.7, 2.0) for i in range(12)))
    (low, _), (high, _) = panels(few), panels(many)
    assert high["height"] > low["height"]
    names = [point["label"].point.name for point in high["points"]]
    assert all(name.endswith("…") for name in names)
    assert max(map(len, names)) * 6.5 < WIDTH / 2


def test_without_a_cost_there_is_no_plot(tmp_path: Path) -> None:
    table = table_of(tmp_path, ("joint", 0.7, None))
    assert [panel["name"] for panel in panels(table)] == ["parameters"]
    assert panels(across_of(tmp_path, runs("a", constant=0.5)).tables[0]) == []


# What a browser makes of the names: those that touch another one of their plot, or stick out of it.
MEASURE = """() => {
  const rect = (one) => one.getBoundingClientRect();
  const touch = (a, b) =>
    a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 3 && b.top < a.bottom - 3;
  const bad = [];
  for (const plot of document.querySelectorAll("svg.pareto")) {
    const box = rect(plot), names = [...plot.querySelectorAll("text.name")];
    names.forEach((one, i) => {
      if (rect(one).left < box.left || rect(one).right > box.right) bad.push(one.textContent + " sticks out");
      for (const other of names.slice(0, i))
        if (touch(rect(one), rect(other))) bad.push(one.textContent + " touches " + other.textContent);
    });
  }
  return [document.querySelectorAll("svg.pareto text.name").length, bad];
}"""


@pytest.mark.slow
def test_a_browser_shows_every_name_apart(tmp_path: Path) -> None:
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("no chromium")
    from playwright.sync_api import sync_playwright

    draw = random.Random(1)
    names = [f"{word}_{i}" for i, word in enumerate(["dmil", "unimodal_skeleton", "late_fusion", "joint_mlp"] * 4)]
    records = []
    for name in names:
        accuracy = draw.gauss(0.76, 0.006)
        for run in runs("a", VALID, **{name: [accuracy - 0.01, accuracy, accuracy + 0.01]}):
            cost = {"train_seconds": draw.lognormvariate(1.5, 0.4), "n_params": draw.lognormvariate(9, 0.3)}
            records.append(replace(run, metrics=run.metrics | cost))
    file = tmp_path / "index.html"
    file.write_text(to_html(across_of(tmp_path, records), None), encoding="utf-8")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(file.as_uri())
        for width in (360, 390, 700, 1280, 1800):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate(MEASURE) == [2 * len(names), []], width
        browser.close()
