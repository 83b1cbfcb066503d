"""Exact BROJA decomposition of a discrete distribution p(x1, x2, y), with a certificate."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dmil.interactions.atoms import Decomposition
from dmil.interactions.tables import check_table, entropy, mutual_information

TOLERANCE = 1e-9  # nats
ROUNDING = 1e-14  # of a cost, in nats
MAX_NEWTON_STEPS = 100
GROWTH = 10.0  # of the barrier parameter


def broja(
    p: Tensor, *, tolerance: float = TOLERANCE, target: str = "y", sources: tuple[str, str] = ("x1", "x2")
) -> Decomposition:
    """The decomposition of Bertschinger, Rauh, Olbrich, Jost and Ay, Entropy 2014, in nats.

    p: (n1, n2, ny), non-negative with sum one. I* = min I_q(X1,X2;Y) over the q with the margins p(x1,y), p(x2,y);
    then r = I(X1;Y) + I(X2;Y) - I*, u_1 = I* - I(X2;Y), u_2 = I* - I(X1;Y), s = I(X1,X2;Y) - I*.

    The minimum is bracketed: from above by a q with exactly these margins, from below by its dual. ``gap`` is the
    distance of the two, at most about ``tolerance`` where float64 allows. No atom is below -1e-14.

    Raises:
        ValueError: p is not a distribution over three variables.
    """
    p = check_table(p)
    first, second = mutual_information(p.sum(1)), mutual_information(p.sum(0))
    total = mutual_information(p.flatten(0, 1))
    minimum = _minimise(p, tolerance)
    # The value of a q is I_q - H(Y); conditional independence given y can leave no negative r, p itself no negative s.
    candidates = [minimum.q, p, _independent(p)]
    union = min(mutual_information(q.flatten(0, 1)) for q in candidates)
    lower = minimum.bound + entropy(p.sum((0, 1)))
    return Decomposition(
        r=first + second - union,
        u1=union - second,
        u2=union - first,
        s=total - union,
        total=total,
        target=target,
        sources=sources,
        gap=max(0.0, union - lower),
    )


def _independent(p: Tensor) -> Tensor:
    """q(x1, x2, y) = p(y) p(x1 | y) p(x2 | y)."""
    label = p.sum((0, 1))
    return p.sum(1)[:, None] * p.sum(0)[None] / torch.where(label > 0, label, 1.0)


@dataclass(frozen=True)
class _Minimum:
    """Of -H_q(Y | X1,X2): a feasible q (n1, n2, ny) and a lower bound of the minimum, in nats."""

    q: Tensor
    bound: float


def _minimise(p: Tensor, tolerance: float) -> _Minimum:
    """Minimises sum q log q(y | x1,x2) over q with margins a = p(x1,y) and b = p(x2,y), by its dual:

        maximise <a, l> + <b, m>  subject to  s(x1,x2) := sum_y exp(l(x1,y) + m(x2,y)) <= 1,

    with a logarithmic barrier and Newton steps. On the central path with parameter t the table
    exp(l + m) / (t (1 - s)) has margins a and b, and the distance of the two values is at most n1 n2 / t. It starts
    from l + m = log sqrt(p(y | x1) p(y | x2)), where s < 1 by Cauchy-Schwarz but for a factor.
    """
    rows, columns = p.sum((1, 2)) > 0, p.sum((0, 2)) > 0
    a, b = p.sum(1)[rows], p.sum(0)[columns]
    n1, n2 = len(a), len(b)
    margins = torch.cat([a, b])
    point = 0.5 * (margins / margins.sum(1, keepdim=True)).log() - 0.1
    t, last = 10.0, n1 * n2 / tolerance
    while True:
        point = _centre(point, margins, n1, t)
        if t >= last:
            break
        t = min(t * GROWTH, last)
    cells = (point[:n1, None] + point[None, n1:]).exp()
    central = cells / (t * (1 - cells.sum(2, keepdim=True)))
    q = torch.zeros_like(p)
    q[rows.nonzero(), columns.nonzero().T] = _with_margins(central, a, b)
    return _Minimum(q, _value(point, margins))


def _value(point: Tensor, margins: Tensor) -> float:
    """The dual objective; where a margin is 0 its multiplier is minus infinity and counts nothing."""
    return torch.where(margins > 0, margins * point, 0.0).sum().item()


def _centre(point: Tensor, margins: Tensor, n1: int, t: float) -> Tensor:
    """Minimises -<margins, point> - 1/t sum log(1 - s) over point (n1 + n2, ny), where margins are positive."""

    def cost(point: Tensor) -> float:
        slack = 1 - (point[:n1, None] + point[None, n1:]).exp().sum(2)
        return -_value(point, margins) - (slack.log().sum().item() / t if slack.min() > 0 else -torch.inf)

    # Where a margin is 0 there is no variable. Adding c_y to l and taking it from m changes nothing, so of each y
    # one m, that of the largest margin, stays what it is; the Hessian of the others is positive definite.
    is_free = margins > 0
    is_free[n1 + margins[n1:].argmax(0), torch.arange(margins.shape[1])] = False
    free = is_free.flatten().nonzero().squeeze(1)
    now, last = cost(point), torch.inf
    for _ in range(MAX_NEWTON_STEPS):
        gradient, hessian = _derivatives(point, margins, n1, t)
        step = torch.zeros_like(gradient)
        step[free] = -_solve(hessian[free][:, free], gradient[free])
        decrease = -(gradient @ step).item()
        if not decrease * t > 1e-16 or ROUNDING > decrease > last / 4:  # the curvature is about t
            break
        direction, length = step.reshape(point.shape), 1.0
        while not (after := cost(point + length * direction)) <= now - 0.1 * length * decrease + ROUNDING:
            length /= 2
            if length < 1e-9:
                return point
        point, now, last = point + length * direction, after, decrease
    return point


def _solve(matrix: Tensor, vector: Tensor) -> Tensor:
    """Scaled to a unit diagonal, and with a ridge at the level of rounding: far along the path some cells of an optimal
    q vanish, and the matrix is positive definite in theory only."""
    scale = matrix.diagonal().rsqrt()
    scaled = matrix * scale * scale.unsqueeze(1)
    scaled.diagonal().add_(1e-15)
    solution: Tensor = scale * torch.linalg.solve(scaled, scale * vector)
    return solution


def _derivatives(point: Tensor, margins: Tensor, n1: int, t: float) -> tuple[Tensor, Tensor]:
    """Gradient and Hessian of the cost of ``_centre``, flat; zero where a margin is 0."""
    n_all, ny = point.shape
    cells = (point[:n1, None] + point[None, n1:]).exp()
    weight = 1 / (1 - cells.sum(2, keepdim=True))
    first = cells * weight / t
    gradient = torch.cat([first.sum(1), first.sum(0)]) - margins
    outer = first * weight
    hessian = point.new_zeros(n_all, ny, n_all, ny)
    i, j, k = torch.arange(n1), torch.arange(n1, n_all), torch.arange(ny)
    hessian[i, :, i] = torch.einsum("ijk,ijl->ikl", outer, cells)
    hessian[j, :, j] = torch.einsum("ijk,ijl->jkl", outer, cells)
    hessian[:n1, :, n1:] = torch.einsum("ijk,ijl->ikjl", outer, cells)
    hessian[:n1, k, n1:, k] += first.movedim(2, 0)
    hessian[n1:, :, :n1] = hessian[:n1, :, n1:].permute(2, 3, 0, 1)
    flat = hessian.reshape(n_all * ny, n_all * ny)
    flat.diagonal().add_(torch.cat([first.sum(1), first.sum(0)]).flatten())
    return gradient.flatten(), flat


def _with_margins(q: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """A table near q (n1, n2, ny) with margins a (n1, ny) and b (n2, ny) to rounding: rows and columns that have too
    much are scaled down, what then lacks is spread as a product (Altschuler, Weed, Rigollet, NeurIPS 2017)."""

    def share(wanted: Tensor, there: Tensor) -> Tensor:
        return (wanted / torch.where(there > 0, there, 1.0)).clamp(max=1)

    q = q * share(a, q.sum(1))[:, None]
    q = q * share(b, q.sum(0))[None]
    lacks_a, lacks_b = (a - q.sum(1)).clamp(min=0), (b - q.sum(0)).clamp(min=0)
    total = lacks_a.sum(0)
    return q + lacks_a[:, None] * lacks_b[None] / torch.where(total > 0, total, 1.0)
