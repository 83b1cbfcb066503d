"""What a sanity check says: shared by the audit, which writes it down, and the reports, which show it."""

from __future__ import annotations

from dataclasses import dataclass

PASS, ALARM, UNKNOWN = "pass", "alarm", "not known"
# When one accuracy is suspiciously far above another: by more than this share, and by more standard errors than that.
MARGIN, N_ERRORS = 0.10, 4


@dataclass(frozen=True)
class Check:
    """name: what was looked at. verdict: ``PASS``, ``ALARM`` or ``UNKNOWN``. text: what was found, in sentences."""

    name: str
    verdict: str
    text: str


def is_far_above(one: float, other: float, error: float) -> bool:
    """Whether accuracy ``one`` is above ``other`` by more than ``MARGIN`` and more than ``N_ERRORS`` standard errors of
    their difference."""
    return one - other > max(MARGIN, N_ERRORS * error)
