"""The command: python -m sweeps.cluster check cluster.yaml; and up, status, down for files in Ray's schema."""

from __future__ import annotations

import argparse
import datetime
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from data_prep.places import local_path
from data_prep.terminal import clean
from sweeps.cluster import launcher
from sweeps.cluster.check import Looked, check
from sweeps.cluster.findings import BadFile
from sweeps.cluster.login import of_file, tunnels
from trm_core.command_line import USER_ERROR, Parser, answered

ROOT = Path(__file__).resolve().parents[2]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. Returns 0; 2 after what a user can mend, a line each; else what `ray` returned."""
    return answered(lambda: _main(sys.argv[1:] if arguments is None else arguments))


def _main(arguments: Sequence[str]) -> int:
    options = _parser().parse_args(arguments)
    if options.verb == "check":
        return _check(options.files, options.budget)
    path = Path(options.file)
    if options.verb == "up":
        launcher.need_ray_file(path)
        for line in launcher.prepare(ROOT):
            print(line)
        if _check([path], options.budget):
            return USER_ERROR
        return launcher.up(path, ROOT)
    if options.verb == "down":
        return launcher.down(path)
    if code := launcher.status(path):
        return code
    print(tunnels(of_file(path)))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m sweeps.cluster",
        description="Look at a cluster's file, and bring the cluster up, look at it, take it down.",
        allow_abbrev=False,
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="check | up | status | down", parser_class=Parser)
    checking = verbs.add_parser("check", help="look at files, start nothing", allow_abbrev=False)
    checking.add_argument("files", nargs="+", type=local_path, metavar="FILE")
    for verb, does in (
        ("up", "make the token, note the commit, check the file, then `ray up`"),
        ("status", "what is up, and the tunnels to its pages"),
        ("down", "`ray down`"),
    ):
        each = verbs.add_parser(verb, help=does, allow_abbrev=False)
        each.add_argument("file", nargs="?", default="cluster.yaml", metavar="FILE")
        if verb == "up":
            checking_too = each
    for each in (checking, checking_too):
        each.add_argument("--budget", type=_dollars, metavar="DOLLARS", help="a day, with every machine up")
    return parser


def _dollars(given: str) -> float:
    try:
        dollars = float(given.removeprefix("$"))
    except ValueError:
        dollars = math.nan
    if not (math.isfinite(dollars) and dollars > 0):
        raise argparse.ArgumentTypeError(f"{given}: expected dollars a day, as in --budget 50")
    return dollars


def _check(files: Sequence[Path], budget: float | None) -> int:
    bad = 0
    for path in files:
        try:
            looked = check(path, folder=ROOT, today=datetime.date.today(), budget=budget)
        except BadFile as error:
            bad += 1
            print(clean(str(error)), file=sys.stderr)
            continue
        for finding in looked.findings:
            warns = "warning: " if finding.only_warns else ""
            print(clean(f"{path}:{finding.line}: {warns}{finding.message}"), file=sys.stderr)
        if looked.is_good:
            print(clean(f"{path}: good: {_in_words(looked)}"))
        else:
            bad += 1
    return USER_ERROR if bad else 0


def _in_words(looked: Looked) -> str:
    if looked.dollars_a_day is None:
        return looked.in_words
    return f"{looked.in_words}; at most {looked.dollars_a_day:,.2f} dollars a day for instances, by on-demand prices"


if __name__ == "__main__":
    sys.exit(main())
