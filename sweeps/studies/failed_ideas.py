"""Ideas that failed (arXiv 2510.04871v1, appendix), beside the TRM that they were to improve. 5 rows.

The paper says of each that it did not help and prints no number, so the table has no column of the paper's. The
mixture of experts stands in place of the SwiGLU over the channels; "last k=4" back-propagates through the last 4 of
the n+1 = 7 recursions only; "no early stopping" keeps every puzzle for all N_sup supervision steps in training. One
idea is left out: fixed-point iteration by TorchDEQ, which solves for z with another library's solver and is no switch
of this recursion.

Cost: mini, about 5 minutes on two CPU cores, a third of it the mixture of experts; official, about 18 h on one L40S for
TRM and three times that for the mixture. `--plan` prints both for this machine.

    python sweeps/run.py --study failed_ideas                                        # mini without a GPU
    python sweeps/run.py --study failed_ideas --profile official --data DIR --plan   # the real puzzles
"""

from sweeps.study import Row, Study

study = Study(
    name="failed_ideas",
    title="Ideas that failed",
    puzzle="sudoku",
    source="Appendix of arXiv 2510.04871v1",
    rows=(
        Row(name="TRM", base="trm"),
        Row(name="mixture of experts", base="trm", change={"model": {"channel_mlp": "mixture of experts"}}),
        Row(name="gradient of the last k=4", base="trm", change={"model": {"gradient": "last k", "gradient_k": 4}}),
        Row(name="no early stopping", base="trm", change={"model": {"halting": "none"}}),
        Row(name="tied embedding and head", base="trm", change={"model": {"output_head": "tied"}}),
    ),
    note="The paper says that these ideas did not help and prints no numbers.",
    baseline=("TRM",),
)
