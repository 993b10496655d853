"""Table 2: how many features the recursion carries, on Sudoku-Extreme (arXiv 2510.04871v1, section 4.2). 3 rows.

y and z, or beside y a z for each of the n=6 latent recursions (n+1 = 7 features), or a single z that is the answer
too. Expect two features to win. MLP mixer: the configurations released for this table default to attention, but the
87.4 that it prints for two features is the MLP mixer's. The last call of a single z goes without x in the released
code, and takes it in figure 4: profile paper's row is figure 4's.

"TRM y, z" is Table 1's and Table 3's TRM: where one of those studies has trained it, it is not trained again.

Cost: mini, about 3 minutes on two CPU cores; official, three times about 18 h on one L40S. `--plan` prints both for
this machine.

    python sweeps/run.py --study latent_features                                        # mini without a GPU
    python sweeps/run.py --study latent_features --profile official --data DIR --plan   # the real puzzles
"""

from sweeps.study import Claim, Row, Study

study = Study(
    name="latent_features",
    title="Latent features",
    puzzle="sudoku",
    source="Table 2 of arXiv 2510.04871v1, section 4.2",
    rows=(
        Row(
            name="TRM y, z (2 features)",
            base="trm",
            named_for=("model.features",),
            paper=87.4,
            place={"method": "TRM y, z", "# of features": "2"},
        ),
        Row(
            name="TRM multi-scale z (7 features)",
            base="trm",
            change={"model": {"features": "multi-scale z"}},
            named_for=("model.n",),  # n+1 features
            paper=77.6,
            place={"method": "TRM multi-scale z", "# of features": "n+1 = 7"},
        ),
        Row(
            name="TRM single z (1 feature)",
            base="trm",
            change={"model": {"features": "single z"}},
            paper=71.9,
            place={"method": "TRM single z", "# of features": "1"},
        ),
    ),
    note="The paper gives one run per cell, without seeds.",
    baseline=("TRM y, z (2 features)",),
    claims=(
        Claim(
            says="a z for each latent recursion is worse than one",
            rising=(("TRM multi-scale z (7 features)", "TRM y, z (2 features)"),),
        ),
        Claim(says="a single z is worse than y and z", rising=(("TRM single z (1 feature)", "TRM y, z (2 features)"),)),
    ),
)
