"""How deep a recursion is worth its price: validation accuracy against training FLOPs, a Pareto front. 40 trials.

T deep recursions of n latent recursions each, through n_layers layers: the effective depth T(n+1)·n_layers (paper,
section 4.8). Table 3 walks along one line of them; here all three vary at once, and what comes out is no best trial but
a front: those that no other trial beats in accuracy and cost both.

There are 5 · 6 · 4 = 120 runs to choose from, so a proposal may come twice; it then takes the number of the run that
is there. `--plan` prints what it takes on this machine.

    python sweeps/run.py --search recursion
"""

from sweeps.search_spec import Dimension, Integers, Objective, Search
from sweeps.study import Row

search = Search(
    name="recursion",
    title="Accuracy and cost of the recursion",
    puzzle="sudoku",
    row=Row(name="TRM", base="trm"),
    space=(
        Dimension(setting="model.T", range=Integers(low=1, high=5)),
        Dimension(setting="model.n", range=Integers(low=1, high=6)),
        Dimension(setting="model.n_layers", range=Integers(low=1, high=4)),
    ),
    objectives=(
        Objective(metric="validation/exact_accuracy", direction="maximize"),
        Objective(metric="flops", direction="minimize"),
    ),
    trials=40,
)
