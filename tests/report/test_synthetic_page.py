import math

import pytest

from pneumoscope.report.results import Measured
from pneumoscope.report.synthetic_page import copy_line, measured_text, signed_percent, spread_text
from pneumoscope.report.synthetic_results import (
    BLURRED,
    LEFT_OUT,
    MATCHED,
    PLANTED,
    SAMPLES,
    Copies,
    CopyRow,
    EqualSizes,
    Spread,
)


def around(value: float, half: float = 0.02) -> Measured:
    return Measured(value=value, low=value - half, high=value + half, n=100, method="by hand")


def row(kind: str, closer: float, *, below_1st: float = 0.01) -> CopyRow:
    """A row beside patients left out at 30 %."""
    if kind == LEFT_OUT:
        return CopyRow(kind=kind, n=100, closer=around(0.3), smallest=1, median=2)
    return CopyRow(
        kind=kind,
        n=100,
        closer=around(closer),
        excess=around(closer - 0.3),
        below_5th=around(0.05),
        below_1st=around(below_1st),
        smallest=1,
        median=2,
    )


@pytest.mark.parametrize(
    ("samples", "below_1st", "blurred", "matched", "planted", "verdict"),
    [
        (0.31, 0.01, 0.4, 0.5, 0.9, "no sign of copies."),
        (0.31, 0.01, 0.4, 0.5, 0.3, "only an exact copy would be."),
        (0.60, 0.01, 0.4, 0.5, 0.9, "More than real newcomers do: look at the pairs."),
        # Another blur than the samples' own excuses nothing.
        (0.60, 0.01, 0.6, None, 0.9, "More than real newcomers do: look at the pairs."),
        (0.60, 0.01, 0.6, 0.4, 0.9, "More than real newcomers do: look at the pairs."),
        (
            0.60,
            0.01,
            0.4,
            0.6,
            0.9,
            "ones blurred to the samples' detail: blur may explain it. Look at the pairs.",
        ),
        (0.20, 0.20, 0.4, 0.5, 0.9, "too many lie very near: look at the pairs."),
    ],
)
def test_the_verdict_weighs_newcomers_blur_and_power(
    samples: float,
    below_1st: float,
    blurred: float,
    matched: float | None,
    planted: float,
    verdict: str,
) -> None:
    rows = [
        row(SAMPLES, samples, below_1st=below_1st),
        row(LEFT_OUT, 0.3),
        row(BLURRED, blurred),
        row(PLANTED, planted),
        *([] if matched is None else [row(MATCHED, matched)]),
    ]
    line = copy_line(Copies(space="pixels", unit="gray levels", rows=rows))
    assert line.endswith(verdict)
    assert f"In pixels, {100 * samples:.1f} %" in line
    assert f"planted on purpose, {100 * planted:.1f} %" in line


def test_figures_show_their_ranges_in_their_own_digits() -> None:
    spread = Spread(mean=6.1386, low=5.7, high=7.326)
    sizes = EqualSizes(
        n=9, n_draws=2, columns={SAMPLES: {"frechet_distance": spread, "recall": spread}}
    )
    assert spread_text(sizes, SAMPLES, "frechet_distance") == "6.14 (5.70 to 7.33)"
    assert spread_text(sizes, SAMPLES, "recall") == "6.139 (5.700 to 7.326)"
    bare = Measured(value=6.1386, low=math.nan, high=math.nan, n=9, method="none")
    assert measured_text(bare, name="frechet_distance") == "6.14 (no interval)"
    assert measured_text(around(0.5)) == "50.0 % (48.0 % to 52.0 %)"
    assert signed_percent(around(0.5)) == "+50.0 (+48.0 to +52.0)"


def test_copies_without_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="no row of samples"):
        copy_line(Copies(space="pixels", unit="gray levels", rows=[row(LEFT_OUT, 0.3)]))
