"""How many layers: TRM's network with 1 to 4 of them, on Sudoku-Extreme (arXiv 2510.04871v1, section 4.4). 5 rows.

T=3 and n=6 throughout, so depth and cost grow with the layers; the last row is the paper's own, 4 layers at n=3, which
holds the depth near TRM's (48 against 42). The paper found two layers best: more of them fit the 1,000 puzzles too
well. A network of one layer is not in the paper.

"2 layers" and "4 layers, n=3" are runs of Table 1: where `components` has trained them, they are not trained again.

    python sweeps/run.py --study layers                                        # mini without a GPU
    python sweeps/run.py --study layers --profile official --data DIR --plan   # the real puzzles
"""

from sweeps.studies.components import FOUR_LAYERS
from sweeps.study import Claim, Row, Study


def _row(n_layers: int, paper: float | None = None) -> Row:
    """TRM with so many layers."""
    name = "1 layer" if n_layers == 1 else f"{n_layers} layers"
    return Row(name=name, base="trm", change={"model": {"n_layers": n_layers}}, paper=paper)


study = Study(
    name="layers",
    title="Layers",
    puzzle="sudoku",
    source="section 4.4 of arXiv 2510.04871v1; its cells are Table 1's",
    rows=(
        _row(1),
        _row(2, paper=87.4),
        _row(3),
        _row(4),
        FOUR_LAYERS.model_copy(update={"name": "4 layers, n=3"}),
    ),
    note="The paper gives one run per cell, without seeds, and no number for 1, 3 and 4 layers at n=6.",
    baseline=("2 layers",),
    claims=(Claim(says="4 layers are worse than 2", rising=(("4 layers, n=3", "2 layers"),)),),
)
