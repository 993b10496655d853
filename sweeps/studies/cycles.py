"""How often to recurse: T deep recursions of n latent recursions each, on Sudoku-Extreme. 16 rows.

TRM with T=1 to 4 and n=2, 4, 6, 8; depth is 2T(n+1). Table 3 of arXiv 2510.04871v1 goes along the diagonal n=2T, where
T and n cannot be told apart; this grid tells them apart. At equal depth T is the cheaper: only the last of the T deep
recursions carries a gradient (section 4.1).

The diagonal is Table 3's TRM column and T=2, n=2 is Table 1's: where `recursion_depth` or `components` has trained
them, they are not trained again.

    python sweeps/run.py --study cycles                                        # mini without a GPU
    python sweeps/run.py --study cycles --profile official --data DIR --plan   # the real puzzles
"""

from sweeps.study import Claim, Row, Study

PAPER = {
    (1, 2): 63.2,
    (2, 4): 81.9,
    (3, 6): 87.4,
    (4, 8): 84.2,
    (2, 2): 73.7,
}  # (T, n): Table 3, and Table 1's T=2, n=2


def _row(T: int, n: int) -> Row:
    """TRM with this T and n: a line and a column of the grid."""
    return Row(
        name=f"T={T}, n={n}",
        base="trm",
        change={"model": {"T": T, "n": n}},
        paper=PAPER.get((T, n)),
        place={"T": str(T), "model": f"n={n}"},
    )


study = Study(
    name="cycles",
    title="Recursions T and n",
    puzzle="sudoku",
    source="sections 4.1 and 4.8 of arXiv 2510.04871v1; its cells are Table 3's and Table 1's",
    rows=tuple(_row(T, n) for T in (1, 2, 3, 4) for n in (2, 4, 6, 8)),
    note="The paper gives one run per cell, without seeds, and cells on the diagonal n=2T and at T=2, n=2 alone.",
    baseline=("T=3, n=6",),
    claims=(
        Claim(says="accuracy rises with depth along n=2T, up to T=3", rising=(("T=1, n=2", "T=2, n=4", "T=3, n=6"),)),
        Claim(says="and is lower at T=4, n=8", rising=(("T=4, n=8", "T=3, n=6"),)),
    ),
)
