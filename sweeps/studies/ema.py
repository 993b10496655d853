"""How slow an average of the weights: TRM's EMA at several rates, and none, on Sudoku-Extreme. 5 rows, in mini 4.

An EMA of rate r averages over about 1/(1-r) steps. The paper has 0.999 and none (arXiv 2510.04871v1, section 4.7 and
Table 1); a reproduction that reached 87.1 % has 0.9 (jvdillon/sic). Expect an optimum that a shorter run moves towards
faster averages: what is averaged over more steps than were trained is still the initial weights. So mini, which trains
for 350 steps, has 0.95, its own rate, in place of the two slowest.

TRM at its profile's own rate, and "no EMA", are runs of Table 1: where `components` has trained them, they are not
trained again.

    python sweeps/run.py --study ema                                        # mini without a GPU
    python sweeps/run.py --study ema --profile official --data DIR --plan   # the real puzzles
"""

from sweeps.study import EVERY_PROFILE, Claim, ProfileName, Row, Study

FULL_SIZE: tuple[ProfileName, ...] = ("official", "paper")


def _row(rate: float, profiles: tuple[ProfileName, ...] = EVERY_PROFILE, paper: float | None = None) -> Row:
    """TRM with an EMA of this rate."""
    return Row(name=f"EMA {rate}", base="trm", change={"optim": {"ema": rate}}, paper=paper, profiles=profiles)


study = Study(
    name="ema",
    title="EMA",
    puzzle="sudoku",
    source="section 4.7 of arXiv 2510.04871v1; its cells are Table 1's",
    rows=(
        _row(0.9),
        _row(0.95, ("mini",)),
        _row(0.99),
        _row(0.999, FULL_SIZE, paper=87.4),
        _row(0.9999, FULL_SIZE),
        Row(name="no EMA", base="trm", change={"optim": {"ema": None}}, paper=79.9),
    ),
    note="The paper gives one run per cell, without seeds, and has 0.999 and none alone.",
    baseline=("no EMA",),
    claims=(Claim(says="an EMA of 0.999 helps", rising=(("no EMA", "EMA 0.999"),)),),
)
