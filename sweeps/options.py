"""What can be said to the command: its options, grouped as `--help` shows them. Loads no library."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from data_prep.places import local_path
from trm_core.command_line import Parser


def command_parser() -> argparse.ArgumentParser:
    """Of the command itself: what to run, where and on what, and what only looks."""
    parser = Parser(
        prog="python sweeps/run.py",
        description="Run a study: every row of one of the paper's tables, and the table at the end.",
        epilog="The same command again continues where it stopped; finished runs are not run again."
        " What became of the runs: python sweeps/run.py status [STUDY]",
        allow_abbrev=False,
    )
    study = parser.add_argument_group("what to run")
    study.add_argument("--study", metavar="NAME", help="which table; --list shows them; or a file of your own, my.py")
    study.add_argument(
        "--search", metavar="NAME", help="or a search for settings: lr_wd, mini, optimiser, recursion; or your own file"
    )
    study.add_argument(
        "--tune", metavar="NAME", help="with --study: every row also at its own best settings, found by this search"
    )
    study.add_argument(
        "--trials", type=int, metavar="N", help="of a search, of each row with --tune (default: as it says itself)"
    )
    study.add_argument(
        "--profile", metavar="NAME", help="mini, official, paper or fast (default: official with a GPU, else mini)"
    )
    _add_list(study, "--only", "PATTERN", "only rows with this in their name: 'k=3*'")
    study.add_argument(
        "--seeds", default="1", metavar="N", help="3 is seeds 0, 1, 2 of every row; or 0-4; or 2,5 (default: 1)"
    )
    study.add_argument(
        "--data-seeds", default="1", metavar="N", help="as many draws of the training puzzles, crossed with the seeds"
    )
    _add_list(
        study,
        "--set",
        "NAME=VALUE",
        "change a setting of all rows: model.D=96; of some: maze:model.D=96, hrm:optim.lr=1e-4",
    )
    _add_list(study, "--grid", "NAME=A,B", "the study at each of these values; several: at all combinations")
    study.add_argument("--set-anyway", action="store_true", help="even what contradicts a row's name")
    study.add_argument("--retry-failed", action="store_true", help="try failed runs again; else they stay failed")
    where = parser.add_argument_group("where, and on what")
    where.add_argument(
        "--out",
        type=local_path,
        default=Path("results"),
        metavar="FOLDER",
        help="results, checkpoints, puzzles (default: results)",
    )
    _add_list(
        where,
        "--data",
        "FOLDER",
        "the published puzzles: their folder, or hub to fetch them; where a study has several: sudoku=FOLDER"
        " maze=FOLDER arc=FOLDER, or a folder that holds sudoku-extreme/, maze-30x30-hard-1k/ and arc/",
    )
    where.add_argument("--optuna-storage", metavar="URL", help="of searches (default: optuna.db beside MLflow's file)")
    where.add_argument(
        "--launcher",
        choices=("train", "inline"),
        help="Ray Train workers, or straight in a Tune trial (default: by size)",
    )
    where.add_argument(
        "--workers", type=int, default=1, metavar="N", help="of each run, where there are GPUs one on each (default: 1)"
    )
    where.add_argument(
        "--gpus-per-run",
        default="1",
        metavar="SHARE",
        help="0.25: four runs share a GPU; auto: as many as its free memory is enough for (default: 1)",
    )
    where.add_argument(
        "--gpus", type=int, metavar="N", help="use so many, of those that a cluster has or brings; 0: CPUs alone"
    )
    where.add_argument(
        "--wait", type=float, metavar="MINUTES", help="with --gpus: for the first of them to come (default: 0)"
    )
    where.add_argument(
        "--ship-code", action="store_true", help="let Ray bring this code to machines of a cluster that have other"
    )
    where.add_argument("--shard", metavar="I/N", help="only the I-th of N parts of the runs, for job arrays: 2/8")
    where.add_argument(
        "--budget", metavar="2h", help="begin no run that would not end within it: 90m, 2h, or $50 with a --price"
    )
    where.add_argument("--yes", action="store_true", help="start more than one GPU-hour of work without being asked")
    where.add_argument(
        "--submit",
        nargs="?",
        const="cluster.yaml",
        metavar="CLUSTER",
        help="there, as a job: a cluster's file (default: cluster.yaml) or user@host; --out and --data are paths there",
    )
    where.add_argument(
        "--attach", nargs="?", const="", metavar="JOB", help="follow a submitted job (default: the newest)"
    )
    where.add_argument(
        "--bring", type=local_path, metavar="FOLDER", help="a submitted job's report comes here (default: results)"
    )
    look = parser.add_argument_group("look, and start nothing")
    look.add_argument("--plan", action="store_true", help="print the runs and what they cost")
    look.add_argument("--check", action="store_true", help="look at every machine that would make runs")
    look.add_argument("--on", metavar="CARD", help="plan for another device: h200, h100, a100, l40s, rtx4090 or cpu")
    look.add_argument("--price", metavar="DOLLARS", help="per hour of a GPU, or of a core (default: --on's, dated)")
    look.add_argument(
        "--pruning-report", metavar="SEARCH", help="print what a search's curves say of its end, and what pruning saves"
    )
    look.add_argument("--list", action="store_true", help="print the studies there are")
    look.add_argument("--settings", action="store_true", help="print every setting: range, default, meaning")
    look.add_argument("--print-config", metavar="ROW", help="print all settings of a row of the study")
    look.add_argument("--diff", nargs=2, metavar="ROW", help="print what differs between two rows of the study")
    look.add_argument(
        "--explain",
        nargs=2,
        metavar="PROFILE",
        help="print what differs between two profiles, and why: --explain official paper",
    )
    return parser


def status_parser() -> argparse.ArgumentParser:
    """What `status` takes."""
    parser = Parser(prog="python sweeps/run.py status", description="What became of the runs.", allow_abbrev=False)
    parser.add_argument(
        "study", nargs="?", metavar="STUDY", help="its runs, row by row (default: all studies, in short)"
    )
    parser.add_argument("--profile", metavar="NAME", help="mini, official or paper (default: all)")
    parser.add_argument("--out", type=local_path, default=Path("results"), metavar="FOLDER", help="default: results")
    return parser


def _add_list(group: argparse._ArgumentGroup, name: str, metavar: str, help: str) -> None:  # noqa: A002
    group.add_argument(name, action="append", nargs="+", default=[], metavar=metavar, help=help)


def joined(groups: Sequence[Sequence[str]]) -> list[str]:
    """The words of an option that was given several times."""
    return [text for group in groups for text in group]
