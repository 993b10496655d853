"""Which optimiser: AdamATan2 (released code), AdamW (paper) or Muon, each at its own best settings. 60 trials.

Paper and released code disagree on the optimiser, and no table of theirs compares the two. A comparison at settings
tuned for one of them says little, so each is searched over learning rate, weight decay and, where it has them, the
decays of its two means.

Muon takes AdamATan2 for what is no matrix of the networks; its betas stay the base row's. Expect the importance of the
learning rate to be far above that of the optimiser's name.

Cost: mini, about 20 s a trial on one CPU core.

    python sweeps/run.py --search optimiser
"""

from sweeps.search_spec import Choices, Dimension, Floats, Objective, Search
from sweeps.study import Row

ADAM = {"optim.name": ("adam_atan2", "adamw")}

search = Search(
    name="optimiser",
    title="Optimiser",
    puzzle="sudoku",
    row=Row(name="TRM k=1, T=1", base="trm", change={"model": {"n": 2, "T": 1}}),
    space=(
        Dimension(setting="optim.name", range=Choices(values=("adam_atan2", "adamw", "muon"))),
        Dimension(setting="optim.lr", range=Floats(low=1e-4, high=3e-2, log=True)),
        Dimension(setting="optim.weight_decay", range=Floats(low=1e-2, high=3.0, log=True)),
        Dimension(setting="optim.beta1", range=Floats(low=0.8, high=0.98), when=ADAM),
        Dimension(setting="optim.beta2", range=Floats(low=0.9, high=0.999), when=ADAM),
    ),
    objectives=(Objective(metric="validation/exact_accuracy", direction="maximize"),),
    trials=60,
)
