"""Learning rate and weight decay of TRM on Sudoku-Extreme. 40 trials.

The two settings that decide how soon a short run leaves chance: with a decay of 1 HRM came off its plateau on mini's
6x6 puzzles in fewer steps than with 0.1, and at 3e-3 not at all (docs/LOG.md). The ranges hold mini's values and the
released code's (1e-4, 1.0). The decay counts times the learning rate, so the two are proposed together.

The recursion is Table 3's smallest (k=1, T=1), the quickest to train. Trials are chosen by exact accuracy on
validation; the three best are confirmed with fresh seeds, and only these see the test set. `--plan` prints what it
takes on this machine.

    python sweeps/run.py --search lr_wd                        # mini without a GPU
    python sweeps/run.py --search lr_wd --trials 10 --plan     # what it would take
"""

from sweeps.search_spec import Dimension, Floats, Objective, Search
from sweeps.study import Row

search = Search(
    name="lr_wd",
    title="Learning rate and weight decay",
    puzzle="sudoku",
    row=Row(name="TRM k=1, T=1", base="trm", change={"model": {"n": 2, "T": 1}}),
    space=(
        Dimension(setting="optim.lr", range=Floats(low=1e-4, high=3e-2, log=True)),
        Dimension(setting="optim.weight_decay", range=Floats(low=1e-2, high=3.0, log=True)),
    ),
    objectives=(Objective(metric="validation/exact_accuracy", direction="maximize"),),
    trials=40,
)
