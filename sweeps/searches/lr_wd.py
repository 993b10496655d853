"""Learning rate and weight decay of TRM on Sudoku-Extreme. 40 trials.

The two settings that decide whether a short run leaves chance at all: on mini's 6x6 puzzles it learns at 3e-3 and not
at 3e-4, and another row of the same table wants 6e-3 and ten times the decay (docs/LOG.md). The ranges hold mini's
values (3e-3, 0.1) and the released code's (1e-4, 1.0). The decay counts times the learning rate, so the two are
proposed together.

The recursion is Table 3's smallest (k=1, T=1), which is also the quickest. Chosen by exact accuracy on validation; the
three best are confirmed with fresh seeds, and only these see the test set.

Cost: mini, about 20 s a trial on one CPU core.

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
