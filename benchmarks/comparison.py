"""The arithmetic: medians, ratios, and whether a bar is met."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Direction = Literal["more_is_better", "less_is_better"]
Verdict = Literal["met", "missed", "no bar"]


@dataclass(frozen=True, kw_only=True)
class Bar:
    """What a ratio, or our own value, has to reach."""

    kind: Literal["at_least", "more_than", "at_most", "less_than"]
    value: float
    of: Literal["ratio", "ours"] = "ratio"

    def is_met_by(self, measured: float) -> bool:
        """Return whether what was measured reaches the bar; NaN never does."""
        if self.kind == "at_least":
            return measured >= self.value
        if self.kind == "more_than":
            return measured > self.value
        if self.kind == "at_most":
            return measured <= self.value
        return measured < self.value

    def __str__(self) -> str:
        """Return the bar in signs, as a table shows it."""
        sign = {"at_least": "≥", "more_than": ">", "at_most": "≤", "less_than": "<"}[self.kind]
        return f"{sign} {self.value:g}"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One row of the table: ours, the other if there is one, and the ratio of the two."""

    part: str
    what: str
    ours: tuple[float, ...]  # a value a repeat
    other: tuple[float, ...]  # empty where there is none
    unit: str
    ratio: float | None
    bar: Bar | None = None

    @property
    def verdict(self) -> Verdict:
        """Whether the bar is met, if there is one."""
        if self.bar is None:
            return "no bar"
        measured = self.ratio if self.bar.of == "ratio" else statistics.median(self.ours)
        return "met" if measured is not None and self.bar.is_met_by(measured) else "missed"


def compare(
    part: str,
    what: str,
    *,
    ours: Sequence[float],
    other: Sequence[float],
    unit: str,
    direction: Direction,
    bar: Bar | None = None,
) -> Comparison:
    """Return the comparison whose ratio says how many times better ours is, by the medians.

    Args:
        part: The part of the benchmark.
        what: What was measured.
        ours: A value a repeat, above 0.
        other: The same of the other side; the number of repeats may differ.
        unit: Of the values.
        direction: Images/s are better when there are more, seconds and MiB when there are fewer.
        bar: What the ratio has to reach.

    Raises: ValueError: a side has no value, or one that is not above 0.
    """
    for side, values in (("ours", ours), ("other", other)):
        if not values or min(values) <= 0:
            raise ValueError(f"{what}: {side} is {list(values)}; a ratio needs values above 0")
    quotient = statistics.median(ours) / statistics.median(other)
    return Comparison(
        part=part,
        what=what,
        ours=tuple(ours),
        other=tuple(other),
        unit=unit,
        ratio=quotient if direction == "more_is_better" else 1 / quotient,
        bar=bar,
    )


def measure_alone(
    part: str, what: str, *, values: Sequence[float], unit: str = "", bar: Bar | None = None
) -> Comparison:
    """Return a row about ourselves: nothing stands beside it, and no ratio is taken."""
    return Comparison(
        part=part, what=what, ours=tuple(values), other=(), unit=unit, ratio=None, bar=bar
    )
