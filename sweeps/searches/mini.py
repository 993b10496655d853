"""The scale of `mini`: how soon the row of Table 3 that learns last leaves chance, and at what price. 24 trials.

A profile for a first look should say something of every row of `recursion_depth` after minutes on two cores: none
near 0, none near 100 %. What stands in the way is HRM, whose attention comes off its plateau long after the MLP mixer
has solved everything, so its shallowest row is the one searched. Two aims: validation accuracy and FLOPs, which here
follow from width and batch size alone, the steps being the profile's. More clues make the same puzzles easier, for all
rows alike.

The front is the first half of the choice. The second is a look at all rows at a point of it, since what frees HRM may
leave the others at 100 %:

    python sweeps/run.py --search mini
    python sweeps/run.py --study recursion_depth --profile mini --set data.clues=32 optim.lr=0.002 … --seeds 3

Which order the rows then stand in is no aim of it. What came of it is in docs/LOG.md.
"""

from sweeps.search_spec import Choices, Dimension, Floats, Integers, Objective, Search
from sweeps.study import Row

search = Search(
    name="mini",
    title="The scale of mini",
    puzzle="sudoku",
    row=Row(name="HRM k=1, T=1", base="hrm", change={"model": {"n": 1, "T": 1}}),
    space=(
        Dimension(setting="data.clues", range=Integers(low=22, high=32), when={"data.source": ("generated",)}),
        Dimension(setting="model.D", range=Choices(values=(32, 48))),
        Dimension(setting="train.batch_size", range=Choices(values=(8, 16, 32))),
        Dimension(setting="optim.lr", range=Floats(low=5e-4, high=5e-3, log=True)),
        Dimension(setting="optim.weight_decay", range=Floats(low=1e-1, high=3.0, log=True)),
        Dimension(setting="optim.warmup_steps", range=Choices(values=(20, 60, 100))),
    ),
    objectives=(
        Objective(metric="validation/exact_accuracy", direction="maximize"),
        Objective(metric="flops", direction="minimize"),
    ),
    trials=24,
)
