"""What mixes the positions: an MLP or self-attention, with 2 and with 4 layers, on Sudoku-Extreme. 4 rows.

Table 1 of arXiv 2510.04871v1 has both mixers with 2 layers (section 4.5: the MLP wins on a small, fixed board).
Reproductions found that attention gains from 4 layers, 81 % against 73 %, where the paper says that 2 layers are best:
the two factors may interact, and this is their square. T=3 and n=6 throughout.

The lines of 2 layers are runs of Table 1: where `components` has trained them, they are not trained again.

    python sweeps/run.py --study mixer                                        # mini without a GPU
    python sweeps/run.py --study mixer --profile official --data DIR --plan   # the real puzzles
"""

from sweeps.study import BaseName, Claim, Row, Study

COLUMNS: dict[BaseName, str] = {"trm": "MLP", "trm_att": "attention"}


def _row(base: BaseName, n_layers: int, paper: float | None = None) -> Row:
    """A mixer with so many layers: a column and a line of the grid."""
    return Row(
        name=f"{COLUMNS[base]}, {n_layers} layers",
        base=base,
        change={"model": {"n_layers": n_layers}},
        named_for=("model.mixer",),
        paper=paper,
        place={"layers": str(n_layers), "model": COLUMNS[base]},
    )


study = Study(
    name="mixer",
    title="Mixer and layers",
    puzzle="sudoku",
    source="section 4.5 of arXiv 2510.04871v1; its cells are Table 1's",
    rows=(
        _row("trm", 2, paper=87.4),
        _row("trm_att", 2, paper=74.7),
        _row("trm", 4),
        _row("trm_att", 4),
    ),
    note="The paper gives one run per cell, without seeds, and no number for 4 layers at n=6.",
    baseline=("MLP, 2 layers",),
    claims=(
        Claim(says="self-attention is worse than the MLP mixer", rising=(("attention, 2 layers", "MLP, 2 layers"),)),
    ),
)
