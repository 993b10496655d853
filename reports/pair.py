"""`python -m reports pair FIRST SECOND`: two checkpoints on the same test puzzles. The one place for McNemar's test.

Each is a run's key, whose outcomes lie below --out, or a file that `python -m trm_core evaluate … --outcomes FILE.npz`
wrote. It says which of the two solves more, and nothing of the recipes that they were trained by.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data_prep.places import local_path
from reports import stats_outcomes
from reports.layout import prose
from reports.outcomes import solved
from reports.runs import EXACT
from reports.words import bracket, percent, probability, signed
from sweeps import screen
from trm_core.command_line import BadCommand, Parser, answered
from trm_core.outcomes import NAME, Outcomes, read_outcomes

KEY = re.compile(r"[0-9a-f]{16}")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Returns 0, or 2 for what the user can mend, said in one line."""
    parser = Parser(prog="python -m reports pair", description=(__doc__ or "").split("\n\n")[0], allow_abbrev=False)
    parser.add_argument("first", metavar="FIRST", help="a run's key, or a file of outcomes")
    parser.add_argument("second", metavar="SECOND", help="another")
    parser.add_argument(
        "--out", type=local_path, default=Path("results"), metavar="DIR", help="below it lie the runs' folders"
    )
    return answered(lambda: _main(parser.parse_args(arguments)))


def _main(options: argparse.Namespace) -> int:
    files = [_file(name, options.out) for name in (options.first, options.second)]
    first = read_outcomes(files[0])
    second = read_outcomes(files[1], test_set=first.test_set)
    print(compared(first, second, (options.first, options.second), screen.width()))
    return 0


def _file(name: str, out: Path) -> Path:
    if KEY.fullmatch(name):
        return out / "runs" / name / NAME
    if not Path(name).is_file():
        raise BadCommand(f"{name}: neither a run's key (16 hex digits, runs.csv of a report has them) nor a file")
    return Path(name)


def compared(first: Outcomes, second: Outcomes, names: tuple[str, str], width: int) -> str:
    """What the two solve, together and alone, and whether that can be chance. Of the same test set."""
    a, b = solved(first, EXACT), solved(second, EXACT)
    if a is None or b is None or len(a) < 2:
        raise BadCommand("the outcomes are of fewer than two puzzles; there is nothing to compare")
    test = stats_outcomes.mcnemar(a, b)
    left = stats_outcomes.paired_interval([b], [a])
    lines = [
        f"{len(a):,} test puzzles (test set {first.test_set[:12]})",
        f"  {percent(float(a.mean())):>5} %  {names[0]}",
        f"  {percent(float(b.mean())):>5} %  {names[1]}",
        f"solved by both {int(np.minimum(a, b).sum()):,}, by the first alone {test.only_first:,}, by the second alone"
        f" {test.only_second:,}, by neither {int((1 - np.maximum(a, b)).sum()):,}",
        f"second less first: {signed(100 * float((b - a).mean()))} points, 95 % by the test set alone {bracket(left)}",
        f"McNemar's test: p {probability(test.p)}. It is of these two checkpoints; another seed of either may lie"
        " elsewhere.",
    ]
    return "\n".join(prose(line, width, "  " if line.startswith("solved") else "") for line in lines)
