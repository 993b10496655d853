"""Table 4: which puzzles which model solves (arXiv 2510.04871v1, section 5). 10 rows: four methods on two puzzles.

Sudoku-Extreme and Maze-Hard; direct prediction and HRM at 27M parameters, TRM with attention (7M) and with the MLP
mixer (5M on Sudoku, 19M on mazes). Expect the MLP mixer to win on the small Sudoku board and to fail on mazes, where
attention wins. Maze-Hard's answer is one of millions of equally short paths, so beside the exact match with it, the
paper's score, stands the share of mazes answered by any shortest path. The paper's language models are quoted below
the table.

HRM stands here twice: by its own recipe (20,000 epochs, as its README says, AdamATan2 in every profile), which is whose
number the paper quotes, and trained as TRM, as Table 1's and Table 3's HRM is. Direct prediction is quoted too; ours is
the released code's (12 heads of 42 channels, 27.1M parameters).

HRM trained as TRM, TRM-Att and TRM-MLP on Sudoku are runs of Table 1: where `components` has trained them, they are
not trained again.

Mini's boards are 6x6 Sudoku and 5x5 mazes, small enough for the MLP mixer to win on both. Their recursion is as deep
as official's.

Cost: mini, about 6 minutes on two CPU cores, as `--plan` estimates it; official, on one L40S about 18 h for TRM-MLP on
Sudoku, on four of them under 24 h for TRM-Att on mazes (README of the released code). `--plan` prints both for this
machine.

    python sweeps/run.py --study puzzles                                        # mini without a GPU
    python sweeps/run.py --study puzzles --profile official --data sudoku=DIR maze=DIR --plan   # the real puzzles
"""

from sweeps.recipes import HRM_BY_ITSELF
from sweeps.study import EVERY_PROFILE, BaseName, Claim, ProfileName, PuzzleName, Quoted, Row, Study

COLUMNS: dict[PuzzleName, str] = {"sudoku": "Sudoku-Extreme", "maze": "Maze-Hard"}


def _row(method: str, base: BaseName, puzzle: PuzzleName, paper: float) -> Row:
    """A method on a puzzle; the two are the table's line and column."""
    column = COLUMNS[puzzle]
    by_itself = method == "HRM, by its own recipe"
    # In mini, whose schedule is its own for every row, HRM is one run.
    profiles: tuple[ProfileName, ...] = ("official", "paper") if by_itself else EVERY_PROFILE
    return Row(
        name=f"{method}, {column}",
        base=base,
        puzzle=puzzle,
        change=HRM_BY_ITSELF[puzzle] if by_itself else {},
        paper=paper,
        place={"method": method, "model": column},
        profiles=profiles,
    )


study = Study(
    name="puzzles",
    title="Puzzles",
    puzzle="sudoku",
    source="Table 4 of arXiv 2510.04871v1, section 5",
    rows=(
        _row("direct prediction", "direct", "sudoku", paper=0.0),
        _row("direct prediction", "direct", "maze", paper=0.0),
        _row("HRM, by its own recipe", "hrm", "sudoku", paper=55.0),
        _row("HRM, by its own recipe", "hrm", "maze", paper=74.5),
        _row("HRM, trained as TRM", "hrm", "sudoku", paper=55.0),
        _row("HRM, trained as TRM", "hrm", "maze", paper=74.5),
        _row("TRM-Att", "trm_att", "sudoku", paper=74.7),
        _row("TRM-Att", "trm_att", "maze", paper=85.3),
        _row("TRM-MLP", "trm", "sudoku", paper=87.4),
        _row("TRM-MLP", "trm", "maze", paper=0.0),
    ),
    quoted=tuple(
        Quoted(name=name, parameters=parameters, cells=dict.fromkeys(COLUMNS.values(), 0.0))
        for name, parameters in (("DeepSeek R1", "671B"), ("Claude 3.7 8K", ""), ("o3-mini-high", ""))
    ),
    note=(
        "The paper gives one run per cell, without seeds. It quotes HRM and direct prediction from Wang et al. (arXiv"
        " 2506.21734), who trained HRM by its own recipe, and the language models from other papers."
    ),
    baseline=tuple(f"HRM, trained as TRM, {column}" for column in COLUMNS.values()),
    claims=(
        Claim(
            says="on Sudoku the MLP mixer is better than self-attention",
            rising=(("TRM-Att, Sudoku-Extreme", "TRM-MLP, Sudoku-Extreme"),),
        ),
        Claim(
            says="on mazes self-attention is better than the MLP mixer",
            rising=(("TRM-MLP, Maze-Hard", "TRM-Att, Maze-Hard"),),
        ),
        Claim(
            says="TRM with self-attention is better than HRM on both",
            rising=tuple((f"HRM, trained as TRM, {column}", f"TRM-Att, {column}") for column in COLUMNS.values()),
        ),
    ),
)
