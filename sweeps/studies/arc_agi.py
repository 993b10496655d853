"""Table 5: ARC-AGI-1 and ARC-AGI-2, two attempts (arXiv 2510.04871v1, section 5). 10 rows: four methods, two
benchmarks.

The public evaluation tasks, each asked under all its variants, whose answers vote; pass@2 is the share of test inputs
whose answer is among the two with the most votes, averaged over tasks. Direct prediction and HRM are quoted by the
paper and are runs here; the language models are quoted below the table. Expect TRM-Att to win, and ARC-AGI-2 to stay
near 0: it has 120 tasks, so one task is 0.83 points. A checkpoint votes alone: the released evaluator pools the votes
of all evaluations of a run, which gains others 1 to 2 points.

HRM stands here twice: by its own recipe, which is whose number the paper quotes, and trained as TRM. Its own ARC-AGI-2
set is training2 and evaluation2 alone (1,120 tasks, without ConceptARC); on ARC-AGI-1 its own recipe is official's, so
there it is one run.

ARC-AGI-1 learns from training, evaluation and concept (960 tasks), ARC-AGI-2 from training2, evaluation2 and concept
(1,280 tasks); of the tasks that are tested only the demonstrations. Both train for 100k epochs, so their steps differ.

Mini has 20 ARC-like tasks to be tested, on a 6x6 canvas, with four variants each, so one task is 5 points.

Cost: mini, about 4 minutes on two CPU cores, as `--plan` estimates it; official, about 3 days on four H100 for TRM-Att
on either benchmark (README of the released code). `--plan` prints both for this machine.

    python sweeps/run.py --study arc_agi                                        # mini without a GPU
    python sweeps/run.py --study arc_agi --profile official --data DIR --plan   # the real tasks
"""

from typing import Any

from sweeps.recipes import HRM_BY_ITSELF
from sweeps.study import EVERY_PROFILE, BaseName, Claim, ProfileName, Quoted, Row, Study

# An epoch draws one variant of each task with all its examples. As for ARC-AGI-1 (sweeps/recipes.py), the examples of a
# task are averaged over all variants; data_prep counts 5,163,272 examples of 1,191,727 variants of these 1,280 tasks.
ARC_2: dict[str, dict[str, Any]] = {
    "data": {"subsets": "training2,evaluation2,concept", "test_subset": "evaluation2"},
    "train": {"steps": 100_000 * 1280 * 5_163_272 // (1_191_727 * 768)},
}
# HRM's own set, counted by data_prep too: 4,340,786 examples of 1,045,836 variants of these 1,120 tasks.
ARC_2_OF_HRM: dict[str, dict[str, Any]] = HRM_BY_ITSELF["arc"] | {
    "data": {"subsets": "training2,evaluation2", "test_subset": "evaluation2"},
    "train": {"steps": 100_000 * 1120 * 4_340_786 // (1_045_836 * 768)},
}
BENCHMARKS: dict[str, tuple[dict[str, dict[str, Any]], tuple[ProfileName, ...]]] = {
    "ARC-AGI-1": ({}, EVERY_PROFILE),
    "ARC-AGI-2": (ARC_2, ("official", "paper")),
}


def _rows(method: str, base: BaseName, *paper: float) -> tuple[Row, ...]:
    """A method on both benchmarks; the two are the table's line and columns."""
    return tuple(
        Row(
            name=f"{method}, {benchmark}",
            base=base,
            change=change,
            paper=cell,
            place={"method": method, "model": benchmark},
            profiles=profiles,
        )
        for (benchmark, (change, profiles)), cell in zip(BENCHMARKS.items(), paper, strict=True)
    )


def _by_itself(paper_1: float, paper_2: float) -> tuple[Row, ...]:
    """HRM by its own recipe. In official it is, on ARC-AGI-1, the run that is trained as TRM."""
    method = "HRM, by its own recipe"
    cells: tuple[tuple[str, dict[str, dict[str, Any]], tuple[ProfileName, ...], float], ...] = (
        ("ARC-AGI-1", HRM_BY_ITSELF["arc"], ("paper",), paper_1),
        ("ARC-AGI-2", ARC_2_OF_HRM, ("official", "paper"), paper_2),
    )
    return tuple(
        Row(
            name=f"{method}, {benchmark}",
            base="hrm",
            change=change,
            paper=paper,
            place={"method": method, "model": benchmark},
            profiles=profiles,
        )
        for benchmark, change, profiles, paper in cells
    )


QUOTED = {
    ("DeepSeek R1", "671B"): (15.8, 1.3),
    ("Claude 3.7 16K", ""): (28.6, 0.7),
    ("o3-mini-high", ""): (34.5, 3.0),
    ("Gemini 2.5 Pro 32K", ""): (37.0, 4.9),
    ("Grok-4-thinking", "1.7T"): (66.7, 16.0),
    ("Bespoke (Grok-4)", ""): (79.6, 29.4),
}

study = Study(
    name="arc_agi",
    title="ARC-AGI",
    puzzle="arc",
    source="Table 5 of arXiv 2510.04871v1, section 5",
    rows=(
        *_rows("direct prediction", "direct", 21.0, 0.0),
        *_by_itself(40.3, 5.0),
        *_rows("HRM, trained as TRM", "hrm", 40.3, 5.0),
        *_rows("TRM-Att", "trm_att", 44.6, 7.8),
        *_rows("TRM-MLP", "trm", 29.6, 2.4),
    ),
    quoted=tuple(
        Quoted(name=name, parameters=parameters, cells=dict(zip(BENCHMARKS, cells, strict=True)))
        for (name, parameters), cells in QUOTED.items()
    ),
    metric="test/pass_at_2",
    note=(
        "pass@2 of the last checkpoint alone. The paper quotes HRM and direct prediction from Wang et al. (arXiv"
        " 2506.21734), who trained HRM by its own recipe, and the language models from other papers. In mini the column"
        " ARC-AGI-1 holds small ARC-like tasks generated on the spot, not ARC-AGI."
    ),
    baseline=tuple(f"HRM, trained as TRM, {benchmark}" for benchmark in BENCHMARKS),
    claims=(
        Claim(
            says="TRM with self-attention is better than HRM",
            rising=tuple((f"HRM, trained as TRM, {benchmark}", f"TRM-Att, {benchmark}") for benchmark in BENCHMARKS),
        ),
        Claim(
            says="self-attention is better than the MLP mixer",
            rising=tuple((f"TRM-MLP, {benchmark}", f"TRM-Att, {benchmark}") for benchmark in BENCHMARKS),
        ),
    ),
)
