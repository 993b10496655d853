"""`python -m reports recursion_depth`: the study's table from the runs that MLflow has. Trains nothing."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from reports.report import Report, choose_profile, write_report
from sweeps.profiles import PROFILES, find_profile
from sweeps.study import find_study
from trm_core.command_line import Parser, is_for_the_user, refuse, settle_output


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Returns its exit code: 0, or 2 for what the user can mend, said in one line."""
    settle_output()
    try:
        return _main(_parser().parse_args(arguments))
    except ValueError as error:
        if not is_for_the_user(error):
            raise
        return refuse(str(error))


def _main(options: argparse.Namespace) -> int:
    if options.tracking:
        os.environ["MLFLOW_TRACKING_URI"] = options.tracking
    try:
        study = find_study(options.study)
        profile = find_profile(options.profile).name if options.profile else choose_profile(study)
        report = write_report(study, profile, options.out, overrides=options.set or None)
    except OSError as error:
        return refuse(f"{error.filename or options.out}: {error.strerror or error}; nothing more was written")
    print(report.text)
    print(paths(report))
    return 0


def paths(report: Report) -> str:
    """Where the report lies, a line per file."""
    return "\n".join(str(report.folder / name) for name in report.files)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m reports", description=__doc__, allow_abbrev=False)
    parser.add_argument("study", metavar="STUDY", help="recursion_depth, ...")
    parser.add_argument("--profile", metavar="|".join(PROFILES), help="default: the only one with runs")
    parser.add_argument("--out", type=Path, default=Path("results"), help="default: results")
    parser.add_argument(
        "--set",
        action="extend",
        nargs="+",
        metavar="NAME=VALUE",
        help="the runs that were made with these settings",
    )
    parser.add_argument(
        "--tracking", metavar="URI", help="the MLflow store; default: MLFLOW_TRACKING_URI, else ./mlflow.db"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
