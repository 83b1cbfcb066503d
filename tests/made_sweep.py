"""`python -m tests.made_sweep SPEC`: a search of made populations on Ray, in a process of its own, as commands are.

SPEC is JSON: populations (number, and what differs from the usual), jobs, address, scratch. What happens is printed
as one line of JSON each.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.errors import UserError
from benchmarks.trials import PopulationRecord
from sweeps.population import Population
from tests.test_population import BUDGET, Given, made, made_data


def say(**event: Any) -> None:
    print(json.dumps(event), flush=True)


class Telling(Given):
    """Says what it hears."""

    def finish(self, population: Population, record: PopulationRecord) -> None:
        super().finish(population, record)
        say(finished=population.number, record=record.to_dict())

    def fail(self, population: Population, reason: str) -> None:
        super().fail(population, reason)
        say(failed=population.number, reason=reason)


def population(*, epochs: int | None = None, **changes: Any) -> Population:
    budget = BUDGET if epochs is None else BUDGET | {"epochs": epochs, "patience": epochs}
    return made(budget=budget, **changes)


def main(spec: dict[str, Any]) -> None:
    from sweeps import cluster

    search = Telling([population(**one) for one in spec["populations"]])
    options = {"jobs": spec.get("jobs"), "address": spec.get("address"), "scratch": Path(spec["scratch"])}
    say(started=True)
    try:
        cluster.run(search, made_data(), device=spec.get("device", "cpu"), **options)
    except UserError as error:
        say(error=str(error))
    say(over=search.is_over, most=search.most)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
