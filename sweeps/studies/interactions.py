"""Whether two changes add up: mixer x layers and EMA x learning rate, around TRM on Sudoku-Extreme. 9 rows.

A table of single changes, such as Table 1 of arXiv 2510.04871v1, says nothing of two made together. Here are two
crossings that meet in TRM: the mixer with 2 and 4 layers (a square), and an EMA or none at a third, one and three times
the profile's learning rate (an EMA averages away what a high rate makes the weights jump, so it may be worth more
there).

TRM, "no EMA" and "attention" are runs of Table 1, and the first square is that of `mixer`: where one of those studies
has trained them, they are not trained again.

    python sweeps/run.py --study interactions                                        # mini without a GPU
    python sweeps/run.py --study interactions --profile official --data DIR --plan   # the real puzzles
"""

from typing import Any

from sweeps.study import BaseName, Claim, ProfileName, Row, Study

RATES: dict[str, dict[ProfileName, float]] = {  # of learning, in each profile, where it is not the profile's own
    "lr / 3": {"mini": 2e-3 / 3, "official": 1e-4 / 3, "paper": 1e-4 / 3, "fast": 1e-4},
    "lr x 3": {"mini": 6e-3, "official": 3e-4, "paper": 3e-4, "fast": 9e-4},
}


MIXERS: dict[BaseName, str] = {"trm": "MLP", "trm_att": "attention"}
FOUR_LAYERS: dict[str, dict[str, Any]] = {"model": {"n_layers": 4}}
NO_EMA: dict[str, dict[str, Any]] = {"optim": {"ema": None}}


def _row(
    name: str,
    base: BaseName = "trm",
    change: dict[str, dict[str, Any]] | None = None,
    rate: str = "lr",
    paper: float | None = None,
) -> Row:
    """A row where it stands in both crossings."""
    return Row(
        name=name,
        base=base,
        change=change or {},
        change_in={profile: {"optim": {"lr": lr}} for profile, lr in RATES.get(rate, {}).items()},
        named_for=("model.mixer",) if base == "trm_att" else (),
        paper=paper,
        place={
            "mixer": MIXERS[base],
            "layers": "4" if change == FOUR_LAYERS else "2",
            "EMA": "no" if change == NO_EMA else "yes",
            "learning rate": rate,
        },
    )


study = Study(
    name="interactions",
    title="Interactions",
    puzzle="sudoku",
    source="two crossings of changes in Table 1 of arXiv 2510.04871v1, whose cells these are",
    rows=(
        _row("TRM", paper=87.4),
        _row("4 layers", change=FOUR_LAYERS),
        _row("attention", "trm_att", paper=74.7),
        _row("attention, 4 layers", "trm_att", FOUR_LAYERS),
        _row("lr / 3", rate="lr / 3"),
        _row("lr x 3", rate="lr x 3"),
        _row("no EMA", change=NO_EMA, paper=79.9),
        _row("no EMA, lr / 3", change=NO_EMA, rate="lr / 3"),
        _row("no EMA, lr x 3", change=NO_EMA, rate="lr x 3"),
    ),
    note="The paper gives one run per cell, without seeds, and no number for two changes made together.",
    baseline=("TRM",),
    claims=(
        Claim(says="self-attention is worse than the MLP mixer", rising=(("attention", "TRM"),)),
        Claim(says="an EMA of the weights helps", rising=(("no EMA", "TRM"),)),
    ),
)
