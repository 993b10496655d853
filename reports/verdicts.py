"""What a cell and a claim of the paper come to, by a rule that is printed with the table. Pure; knows no study."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from scipy import stats

from reports.stats import Difference, Pool, planned_pairs
from sweeps.power import ASSUMED_SD, seeds_to_separate
from sweeps.records.summary import CONFIDENCE
from sweeps.study import Claim

WITHIN = 0.05  # "reproduced" is said of an interval of no more than this on either side of the mean, as a fraction
PRINTED = 0.0005  # half of the paper's last digit, as a fraction
MOST_SEEDS = 1000
DECLINE = 0.02  # late decline, as a fraction

CellWord = Literal[
    "reproduced",
    "higher",
    "lower",
    "undecided",
    "not comparable",
    "diverged",
    "out of memory",
    "failed",
    "interrupted",
    "running",
    "not run",
]
MARKS: Mapping[str, str] = {"reproduced": "≈", "higher": "↑", "lower": "↓", "undecided": "?"}

RULE = (
    "≈ reproduced: the paper's one run lies where one more run of ours would with 95 % (mean ± t·s·√(1 + 1/n)), and"
    f" that is no wider than ± {100 * WITHIN:.0f} points; ↑ or ↓: ours is higher or lower, the paper's run lies outside"
    " (of 20 cells that agree, one is called so by chance); ? undecided: it lies inside, but so would nearly any run."
)
LOSS_RULE = RULE.replace(f"{100 * WITHIN:.0f} points", f"{100 * WITHIN:.0f} % of the loss").replace("paper", "source")
BEST_RULE = "Bold: not significantly below the best of its test set (multiple comparisons with the best, 5 %)."
CLAIM_RULE = (
    "A claim holds where every pair of rows in it differs its way, is contradicted where one differs the other way"
    " (t with the seeds' spread above, Holm's correction over all pairs of all claims, 5 % in all), else undecided."
)


@dataclass(frozen=True)
class Verdict:
    """What is to be said of a cell beside the paper's."""

    word: CellWord
    why: str = ""
    more_seeds: int | None = None  # that would decide, of each row

    @property
    def mark(self) -> str:
        """One character behind the number; empty where there is nothing to mark."""
        return MARKS.get(self.word, "")

    @property
    def text(self) -> str:
        """In words: "differs: lower", "undecided: 2 more seeds of each row would decide"."""
        words = f"differs: {self.word}" if self.word in ("higher", "lower") else self.word
        return f"{words}: {self.why}" if self.why else words


@dataclass(frozen=True)
class Judged:
    """A claim of the paper's, and what our runs say of it."""

    says: str
    word: Literal["holds", "contradicted", "undecided", "not run"]
    why: str = ""
    pairs: tuple[Difference, ...] = ()  # the better row's mean less the other's, by the claim

    @property
    def text(self) -> str:
        """In words."""
        return f"{self.word}: {self.why}" if self.why else self.word


def judge(
    pool: Pool, name: str, paper: float, *, within: float = WITHIN, printed: float = PRINTED, test_variance: float = 0.0
) -> Verdict:
    """The verdict on a row that has a number. paper: its one run, in the pool's unit.

    within: how wide an interval may be that decides. test_variance: of an accuracy on our test puzzles, where they are
    not the paper's.
    """
    found = pool.prediction(name, test_variance)
    if found is None:
        more = seeds_that_decide(pool, name, within, test_variance)
        return Verdict("undecided", f"one seed has no spread; {_more(more)}", more)
    if not found.holds(paper, printed):
        return Verdict("higher" if paper < found.low else "lower")
    if found.half_width <= within + printed:
        return Verdict("reproduced")
    more = seeds_that_decide(pool, name, within, test_variance)
    return Verdict("undecided", _more(more), more)


def _more(seeds: int | None) -> str:
    if seeds is None:
        within = f"± {100 * WITHIN:.0f} points"
        return f"no number of seeds would decide within {within}, its runs spread too far or its test set is too small"
    return f"{seeds:,} more seed{'' if seeds == 1 else 's'} of each row would decide"


def seeds_that_decide(pool: Pool, name: str, within: float = WITHIN, test_variance: float = 0.0) -> int | None:
    """How many more seeds of each row make the prediction narrow enough; None where none do.

    By the spread known so far, where there is none by another reproduction's 1.3 points.
    """
    sd = pool.sd_in_points(name)
    sd = ASSUMED_SD / 100 if sd is None and pool.are_fractions else sd
    if sd is None:
        return 1
    have = len(pool.rows[name])
    for more in range(1, MOST_SEEDS):
        n = have + more
        df = n - 1 if pool.scale == "apart" else pool.df + more * len(pool.rows)
        if float(stats.t.ppf((1 + CONFIDENCE) / 2, df)) * math.sqrt(sd**2 * (1 + 1 / n) + test_variance) <= within:
            return more
    return None


def judge_claims(claims: Sequence[Claim], pools: Iterable[Pool], papers: Mapping[str, float]) -> tuple[Judged, ...]:
    """Each claim, its pairs tested together with those of all the others. Rows of two test sets are never compared.

    papers: what the paper prints, as fractions, by row: how large a difference is looked for.
    """
    of_row = {name: pool for pool in pools for name in pool.rows}
    pairs = dict.fromkeys(pair for claim in claims for pair in _pairs(claim))
    planned = [
        (of_row[better], better, worse)
        for better, worse in pairs
        if better in of_row and of_row.get(worse) is of_row[better]
    ]
    tested = {(one.row, one.other): one for one in planned_pairs(planned)}
    return tuple(_judge_claim(claim, tested, of_row, len(planned), papers) for claim in claims)


def _pairs(claim: Claim) -> list[tuple[str, str]]:
    """(better, worse) by the claim."""
    return [(better, worse) for chain in claim.rising for worse, better in pairwise(chain)]


def _judge_claim(
    claim: Claim,
    tested: Mapping[tuple[str, str], Difference],
    of_row: Mapping[str, Pool],
    n_pairs: int,
    papers: Mapping[str, float],
) -> Judged:
    pairs = _pairs(claim)
    lost = dict.fromkeys(name for pair in pairs for name in pair if name not in of_row)
    found = tuple(tested[pair] for pair in pairs if pair in tested)
    against = [one for one in found if one.is_real and one.mean < 0]
    if against:
        return Judged(
            claim.says, "contradicted", "; ".join(f"{one.row} is below {one.other}" for one in against), found
        )
    if lost:
        return Judged(claim.says, "not run", f"no number of {', '.join(lost)}", found)
    if any(of_row[better] is not of_row[worse] for better, worse in pairs):
        return Judged(claim.says, "undecided", "it sets apart rows of two test sets", found)
    open_pairs = [pair for pair in pairs if pair not in tested or not tested[pair].is_real]
    if not open_pairs:
        return Judged(claim.says, "holds", "", found)
    named = "; ".join(f"{better} over {worse}" for better, worse in open_pairs)
    if len(open_pairs) == len(pairs) == 1:
        named = ""
    wanted = [_wanted(pair, of_row, n_pairs, papers) for pair in open_pairs]
    needed = max((more for more in wanted if more is not None), default=None)
    seeds = "more seeds would decide"
    if needed is not None and None not in wanted:
        more = f"{needed:,} more seed{'' if needed == 1 else 's'} of each row"
        seeds = f"{more} would find the paper's difference, four times in five"
    return Judged(claim.says, "undecided", "; ".join(part for part in (named, seeds) if part), found)


def _wanted(pair: tuple[str, str], of_row: Mapping[str, Pool], n_pairs: int, papers: Mapping[str, float]) -> int | None:
    """More seeds of each row to find the paper's own difference in this pair; None where that cannot be said."""
    pool, (better, worse) = of_row[pair[0]], pair
    points = abs(100 * (papers[better] - papers[worse])) if better in papers and worse in papers else 0.0
    known = [sd for name in pair if (sd := pool.sd_in_points(name)) is not None]
    sd = 100 * max(known) if known else ASSUMED_SD
    if points == 0 or sd == 0:
        return None
    seeds = seeds_to_separate(points, n_pairs + 1, sd)
    have = min(len(pool.rows[name]) for name in pair)
    return None if seeds is None or seeds <= have else seeds - have


def declines(last: float, by_validation: float | None, by_test: float) -> bool:
    """Whether the end is well below what was there before: 2 points below the checkpoint that validation would pick.

    Without validation: below the best on test, which is the best by luck too, by twice as much.
    """
    return by_test - last > 2 * DECLINE if by_validation is None else by_validation - last > DECLINE
