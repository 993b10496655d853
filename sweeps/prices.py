"""What cards train at and cost, as data: what `--on NAME` prices a plan with. All of it as of 2026-11-26.

Two rates were measured. A compiled step of this code on an H200: 380 TFLOP/s (docs/performance.md). And, by others,
the released TRM-MLP run, 2.1e18 operations as RunConfig counts them, about 18 h on one L40S: 33 TFLOP/s, 9 % of its
peak, so memory and not arithmetic sets the pace. The other cards' rates are assumptions: that of the card that is
nearest in kind, times the ratio of the makers' memory bandwidths. A finished run comes before any of them: it tells
its card's rate (plan.recorded_rates).
"""

from __future__ import annotations

import difflib
import math
import re
from dataclasses import dataclass

H200_FLOPS_PER_S, H200_GB_PER_S = 380e12, 4800
L40S_FLOPS_PER_S, L40S_GB_PER_S = 33e12, 864


class UnknownCard(ValueError):
    """A name that no card here has."""


class BadPrice(ValueError):
    """A price that is no number of dollars per hour."""


@dataclass(frozen=True)
class Price:
    """Dollars per hour of one card, or of one CPU core, and where that is known from."""

    dollars_per_hour: float
    source: str


@dataclass(frozen=True)
class Card:
    """Something to train on: a GPU, or a CPU core."""

    name: str  # as --on takes it
    device: str  # a part of torch's name of it, by which its finished runs are known; "cpu"
    flops_per_s: float  # achieved by runs of the paper's size, as RunConfig counts; smaller ones reach less
    source: str  # of the rate
    price: Price
    gigabytes: int | None = None  # of its memory; None: the machine's


def _like_the_l40s(gb_per_s: float) -> float:
    """The rate of a card of this memory bandwidth."""
    return L40S_FLOPS_PER_S * gb_per_s / L40S_GB_PER_S


def _like_the_h200(gb_per_s: float) -> float:
    return H200_FLOPS_PER_S * gb_per_s / H200_GB_PER_S


def _assumed(name: str, gb_per_s: int, like: str) -> str:
    of, there = {"H200": (H200_FLOPS_PER_S, H200_GB_PER_S), "L40S": (L40S_FLOPS_PER_S, L40S_GB_PER_S)}[like]
    return (
        f"an assumption: {of * gb_per_s / there / 1e12:.0f} TFLOP/s on {name}, which is the {like}'s {of / 1e12:.0f}"
        f" times the ratio of memory bandwidths ({gb_per_s:,} to {there:,} GB/s); small runs reach less"
    )


CARDS: tuple[Card, ...] = (
    Card(
        "h200",
        "H200",
        H200_FLOPS_PER_S,
        "a measurement on an H200, 2026-11-26: a compiled bf16 step of TRM-MLP or TRM-Att at D=512, batch 768, 380"
        " TFLOP/s; small runs reach less",
        Price(6.35, "RunPod, on demand, as deploybase.ai's guide of 2026-03-10 has it"),
        141,
    ),
    Card(
        "h100",
        "H100",
        _like_the_h200(3350),
        # others trained it with 8 H100-class cards in 40 min: some 110 TFLOP/s each
        _assumed("an H100 SXM", 3350, "H200"),
        Price(3.99, "RunPod, Secure Cloud, H100 SXM, on demand, read 2026-11-09"),
        80,
    ),
    Card(
        "a100",
        "A100",
        _like_the_l40s(2039),
        # a baseline of others took 10.9 h on one: some 53 TFLOP/s, with settings of their own
        _assumed("an A100 SXM 80 GB", 2039, "L40S"),
        Price(1.79, "RunPod, Secure Cloud, A100 SXM 80 GB, on demand, read 2026-11-09"),
        80,
    ),
    Card(
        "l40s",
        "L40S",
        L40S_FLOPS_PER_S,
        "the released TRM-MLP run of about 18 h on an L40S, measured by others: 33 TFLOP/s; small runs reach less",
        Price(0.86, "RunPod, on demand, as Modal's price comparison of 2025-08-12 has it"),
        48,
    ),
    Card(
        "rtx4090",
        "RTX 4090",
        _like_the_l40s(1008),
        _assumed("an RTX 4090", 1008, "L40S"),
        Price(0.29, "OpenRelay, read 2026-09-20"),
        24,
    ),
    Card(
        "cpu",
        "cpu",
        35e9,
        "an assumption: 35 GFLOP/s on a CPU core, as mini's runs on one thread of a cloud machine, 2026-11-26",
        Price(0.0425, "AWS, c5.large in us-east-1, per vCPU, price list of 2025-04-24"),
    ),
)


def find_card(name: str) -> Card:
    """The card of that name, however it is written ("RTX 4090", "H100"). Raises UnknownCard with the nearest name."""
    asked = _plain(name)
    for card in CARDS:
        if card.name == asked:
            return card
    names = [card.name for card in CARDS]
    within = [known for known in names if known in asked or (asked and asked in known)]
    close = within[:1] or difflib.get_close_matches(asked, names, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]}?" if close else f"expected one of {', '.join(names)}"
    raise UnknownCard(f"--on {name}: no such card; {hint}")


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def read_price(text: str) -> Price:
    """ "2.5", "$2.50" or "$2.50/h", per hour of one card. Raises BadPrice."""
    found = re.fullmatch(r"\$?([0-9]{1,6}(?:\.[0-9]+)?)(?:/h)?", text.strip())
    dollars = float(found[1]) if found else math.nan
    if not dollars > 0:
        raise BadPrice(f"--price {text}: expected dollars per hour of one card, above 0, for example 2.50")
    return Price(dollars, "given with --price")
