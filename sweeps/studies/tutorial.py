"""A tutorial's ablation: the training loss of four TRMs on hard mazes after ten epochs. 4 rows.

From vukrosic/learn-tiny-recursive-models, which runs the released code with attention on Maze-Hard's 1,000 mazes. The
loss is the cells' cross-entropy of each step, without the halting loss. Its published curve has 156 steps, which is
ten epochs at batch 64, the batch size that its later configurations name; so these are the scale here, in every
profile. All of official lies within the warm-up of 2,000 steps: the learning rate ends at 7.8e-6.

By how far the loss fell, the tutorial ranks fewer recursions first, then the 4-layer network, no EMA, and TRM last;
trained to the end, the paper's accuracies stand in exactly the reverse order (Table 1, on Sudoku-Extreme). A training
loss after 156 steps says how fast a model starts, not what it becomes.

Cost: mini, about 90 seconds on two CPU cores, as `--plan` estimates it; official, not measured. `--plan` prints both
for this machine.

    python sweeps/run.py --study tutorial                                        # mini without a GPU
    python sweeps/run.py --study tutorial --profile official --data DIR --plan   # the real mazes
"""

from typing import Any

from sweeps.study import Losses, Row, Study

TEN_EPOCHS = {"steps": 10 * 1000 // 64, "batch_size": 64, "log_every": 1}  # a loss of each step, as the tutorial's


def _row(
    name: str, change: dict[str, dict[str, Any]], initial: float, final: float, minimum: float, improvement: float
) -> Row:
    """TRM with attention and n=6, with something changed."""
    model = {"n": 6, **change.get("model", {})}
    return Row(
        name=name,
        base="trm_att",
        change=change | {"model": model, "train": TEN_EPOCHS},
        paper_losses=Losses(initial=initial, final=final, minimum=minimum, improvement=improvement),
    )


study = Study(
    name="tutorial",
    title="A tutorial's ablation",
    puzzle="maze",
    source="vukrosic/learn-tiny-recursive-models, an ablation of TRM on Maze-Hard",
    rows=(
        _row("Baseline TRM", {}, 1.789, 1.062, 1.045, 40.6),
        _row("No EMA", {"optim": {"ema": None}}, 1.789, 1.042, 1.041, 41.7),
        _row("Fewer recursions", {"model": {"T": 2, "n": 2}}, 2.100, 1.100, 1.042, 47.6),
        _row("Bigger brain", {"model": {"n_layers": 4, "n": 3}}, 1.789, 1.007, 1.007, 43.7),
    ),
    metric="train/lm_loss",
    layout="losses",
    note=(
        "Training loss after 156 steps, ten epochs of 1,000 mazes at batch 64. Short runs invert the paper's ranking:"
        " trained to the end, TRM is best and fewer recursions are worst (Table 1 of arXiv 2510.04871v1, on Sudoku)."
        " An EMA does not enter the training loss: here no EMA repeats the baseline's numbers, and what sets them apart"
        " in the source is the spread between two runs."
    ),
)
