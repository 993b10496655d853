"""Table 1: what each component of TRM is worth on Sudoku-Extreme (arXiv 2510.04871v1, section 4). 9 rows.

Every row is TRM with one thing changed, but HRM, which is the HRM recipe. "w/ ACT" is HRM's halting, with a continue
loss and a second forward pass. "w/ T=2, n=2" has depth 12; Table 3's row k=2 is another run (T=2, n=4). Expect every
change to cost accuracy, the one-step gradient and HRM most.

TRM and HRM are runs of Table 3 too (k=3, T=3 and k=2, T=2): where `recursion_depth` has trained them, or this study
has, they are not trained again.

Cost: mini, 5 to 10 minutes on two CPU cores; official, about 18 h on one L40S for TRM, in all about nine times that.
`--plan` prints both for this machine.

    python sweeps/run.py --study components                                        # mini without a GPU
    python sweeps/run.py --study components --profile official --data DIR --plan   # the real puzzles
"""

from sweeps.study import Claim, Row, Study

TRM = "TRM (T=3, n=6)"
FOUR_LAYERS = Row(  # a row of `layers` too
    name="w/ 4 layers, n=3",
    base="trm",
    change={"model": {"n_layers": 4, "n": 3}},
    paper=79.5,
)

study = Study(
    name="components",
    title="Components",
    puzzle="sudoku",
    source="Table 1 of arXiv 2510.04871v1, section 4",
    rows=(
        Row(name="HRM", base="hrm", paper=55.0),
        Row(name=TRM, base="trm", named_for=("model.T", "model.n"), paper=87.4),
        Row(name="w/ ACT", base="trm", change={"model": {"halting": "q_learning"}}, paper=86.1),
        Row(name="w/ separate f_H, f_L", base="trm", change={"model": {"networks": "separate"}}, paper=82.4),
        Row(name="no EMA", base="trm", change={"optim": {"ema": None}}, paper=79.9),
        FOUR_LAYERS,
        Row(name="w/ self-attention", base="trm_att", paper=74.7),
        Row(name="w/ T=2, n=2", base="trm", change={"model": {"T": 2, "n": 2}}, paper=73.7),
        Row(name="w/ 1-step gradient", base="trm", change={"model": {"gradient": "one step"}}, paper=56.5),
    ),
    note=(
        "The paper gives one run per cell, without seeds. HRM is trained as TRM here; the paper's 55.0 is Table 4's,"
        " quoted from Wang et al., who trained it by its own recipe (study puzzles has both)."
    ),
    baseline=(TRM,),
    claims=tuple(
        Claim(says=says, rising=((row, TRM),))
        for row, says in (
            ("HRM", "TRM is better than HRM"),
            ("w/ ACT", "halting without the continue loss is better than with it"),
            ("w/ separate f_H, f_L", "one network is better than two"),
            ("no EMA", "an EMA of the weights helps"),
            ("w/ 4 layers, n=3", "4 layers are worse than 2"),
            ("w/ self-attention", "self-attention is worse than the MLP mixer"),
            ("w/ T=2, n=2", "fewer recursions are worse"),
            ("w/ 1-step gradient", "the 1-step gradient is worse than the full recursion's"),
        )
    ),
)
