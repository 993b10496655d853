"""Table 3: HRM and TRM on Sudoku-Extreme at matched depth (arXiv 2510.04871v1, section 4.8). 14 rows.

HRM with n=k and 4 layers stands beside TRM with n=2k and 2 layers, at the same T; depth is T(n+1)·n_layers.
Expect accuracy to rise with depth up to k=T=3 and to fall beyond, TRM above HRM at every depth. The two "OOM" cells
did not fit the paper's one L40S (48 GB); here what does not fit recomputes the latent recursion in the backward. HRM's
column is the HRM recipe, one-step gradient and no EMA included.

Cost: mini, six rows, minutes on two CPU cores; official, about 18 h on one L40S for TRM k=3, T=3 and in proportion to
depth for the others. `--plan` prints both for this machine.

    python sweeps/run.py --study recursion_depth                                        # mini without a GPU
    python sweeps/run.py --study recursion_depth --profile official --data DIR --plan   # the real puzzles
"""

from typing import Literal

from sweeps.study import EVERY_PROFILE, Claim, ProfileName, Row, Study

Paper = float | Literal["OOM"]


def _hrm(k: int, T: int, paper: Paper, paper_depth: int | None = None) -> Row:
    """HRM with n=k; its recipe has 4 layers."""
    return Row(
        name=f"HRM k={k}, T={T}",
        base="hrm",
        change={"model": {"n": k, "T": T}},
        paper=paper,
        paper_depth=paper_depth,
        place={"k": str(k), "T": str(T), "model": "HRM"},
        profiles=_profiles(k, T),
    )


def _trm(k: int, T: int, paper: Paper, paper_depth: int | None = None) -> Row:
    """TRM with n=2k, so that its 2 layers reach about HRM's depth."""
    return Row(
        name=f"TRM k={k}, T={T}",
        base="trm",
        change={"model": {"n": 2 * k, "T": T}},
        paper=paper,
        paper_depth=paper_depth,
        place={"k": str(k), "T": str(T), "model": "TRM"},
        profiles=_profiles(k, T),
    )


def _profiles(k: int, T: int) -> tuple[ProfileName, ...]:
    """mini keeps the diagonal up to k=T=3, the depths at which the paper's numbers rise."""
    return EVERY_PROFILE if k == T <= 3 else ("official", "paper")


study = Study(
    name="recursion_depth",
    title="Recursion depth",
    puzzle="sudoku",
    source="Table 3 of arXiv 2510.04871v1, section 4.8",
    rows=(
        _hrm(k=1, T=1, paper=46.4, paper_depth=9),
        _trm(k=1, T=1, paper=63.2, paper_depth=7),
        _hrm(k=2, T=2, paper=55.0),
        _trm(k=2, T=2, paper=81.9),
        _hrm(k=3, T=3, paper=61.6),
        _trm(k=3, T=3, paper=87.4),
        _hrm(k=4, T=4, paper=59.5),
        _trm(k=4, T=4, paper=84.2),
        _hrm(k=6, T=3, paper=62.3),
        _trm(k=6, T=3, paper="OOM"),
        _hrm(k=3, T=6, paper=58.8),
        _trm(k=3, T=6, paper=85.8),
        _hrm(k=6, T=6, paper=57.5),
        _trm(k=6, T=6, paper="OOM"),
    ),
    note=(
        "OOM: out of memory in the paper; trained here with activation checkpointing where memory is short."
        " The paper gives one run per cell, without seeds. HRM is trained as TRM here."
    ),
    baseline=("TRM k=3, T=3",),
    claims=(
        Claim(
            says="TRM is better than HRM at equal k and T",
            rising=tuple((f"HRM k={k}, T={T}", f"TRM k={k}, T={T}") for k, T in ((1, 1), (2, 2), (3, 3))),
        ),
        Claim(
            says="TRM is better than HRM at greater depth too",
            rising=tuple((f"HRM k={k}, T={T}", f"TRM k={k}, T={T}") for k, T in ((4, 4), (3, 6))),
        ),
        Claim(
            says="TRM's accuracy rises with depth, up to k=T=3",
            rising=(("TRM k=1, T=1", "TRM k=2, T=2", "TRM k=3, T=3"),),
        ),
        Claim(
            says="HRM's accuracy rises with depth, up to k=T=3",
            rising=(("HRM k=1, T=1", "HRM k=2, T=2", "HRM k=3, T=3"),),
        ),
        Claim(says="TRM is worse at k=T=4 than at k=T=3", rising=(("TRM k=4, T=4", "TRM k=3, T=3"),)),
    ),
)
