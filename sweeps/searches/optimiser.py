"""Which optimiser: AdamATan2 (released code), AdamW (paper) or Muon, each at its own best settings. 60 trials.

Paper and released code disagree on the optimiser, and no table of theirs compares the two. A comparison at settings
tuned for one of them says little, so each is searched over learning rate and weight decay, and Adam's two also over
the decays of their means. Muon is for the networks' matrices and takes AdamATan2 for the rest, whose betas stay the
base row's.

As in `lr_wd`, the row is the quickest to train, and the three best trials are confirmed with fresh seeds. `--plan`
prints what it takes on this machine.

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
