"""Geometry of the critical-difference diagram: x in percent of the width, y in pixels."""

from __future__ import annotations

from typing import Any

from reports.across_aggregate import Aggregates

LEFT, RIGHT, GAP = 32.0, 68.0, 1.0
AXIS, GROUP_HEIGHT, ROW_HEIGHT = 30.0, 9.0, 20.0


def ranks(found: Aggregates, n_datasets: int) -> dict[str, Any] | None:
    """Mean ranks on an axis, the best half of the methods named on the left; a bar joins methods that the rank test
    does not tell apart. None where there is no test."""
    if found.test is None:
        return None
    n = len(found.rows)
    places = [_along(row.rank, n) for row in found.rows]
    top = AXIS + 14 + GROUP_HEIGHT * len(found.test.groups)
    n_left = (n + 1) // 2
    # From either end of the axis inwards, so that no line crosses another.
    order = [*range(n_left), *range(n - 1, n_left - 1, -1)]
    depths = {i: top + ROW_HEIGHT * (k if k < n_left else k - n_left) for k, i in enumerate(order)}
    names = [row.method for row in found.rows]
    joined = ["; ".join(names[i] for i in group) for group in found.test.groups]
    return {
        "n_datasets": n_datasets,
        "axis": AXIS,
        "ends": (_along(1, n), _along(n, n)),
        "ticks": [(_along(rank, n), str(rank)) for rank in range(1, n + 1)],
        "methods": [
            {
                "name": row.method,
                "rank": f"{row.rank:.2f}",
                "kind": "dmil" if row.is_dmil else "conventional",
                "x": places[i],
                "y": depths[i],
                "is_left": i < n_left,
                "edge": LEFT - GAP if i < n_left else RIGHT + GAP,
                "text": LEFT - 2 * GAP if i < n_left else RIGHT + 2 * GAP,
            }
            for i, row in enumerate(found.rows)
        ],
        "groups": [
            (places[group[0]], places[group[-1]], AXIS + 12 + GROUP_HEIGHT * k)
            for k, group in enumerate(found.test.groups)
        ],
        "height": max(depths.values()) + ROW_HEIGHT,
        "description": "Mean ranks: "
        + ", ".join(f"{row.method} {row.rank:.2f}" for row in found.rows)
        + f". Not told apart: {', and '.join(joined) or 'none'}.",
        "friedman": f"{found.test.friedman_p:.3g}",
    }


def _along(rank: float, n: int) -> float:
    return round(LEFT + (RIGHT - LEFT) * (rank - 1) / (n - 1), 3)
