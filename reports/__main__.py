"""`python -m reports recursion_depth`: the study's table from the runs that MLflow has. Trains nothing.

`python -m reports all`: every study's, and an index. `python -m reports watch STUDY`: again, while its runs go on.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from data_prep.places import local_path
from reports import pair
from reports.check import check
from reports.choose import ALL, Found, choose, find, in_folder, named
from reports.compare import Compared, write_comparison
from reports.plain import one_line
from reports.report import NothingRecorded, Report, write_report
from reports.watch import EVERY_S, watch, write_all
from sweeps import screen
from sweeps.campaign import BadCampaign, Campaign
from sweeps.guard import termination_as_interrupt
from sweeps.records.address import VARIABLE, locate
from sweeps.study import EVERY_PROFILE
from trm_core.command_line import BadCommand, Parser, answered, refuse, seldom_collecting

INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Returns its exit code: 0; 1 where --check finds a difference; 2 for what the user can mend, said in
    one line; 130 after Ctrl-C."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    try:
        with termination_as_interrupt(), seldom_collecting():
            return answered(lambda: VERBS.get(given[0] if given else "", _main)(given))
    except KeyboardInterrupt:
        print("stopped; what was written is whole", file=sys.stderr)
        return INTERRUPTED


def _all(arguments: Sequence[str]) -> int:
    options = _parser_of_all().parse_args(arguments[1:])
    _settle(options)
    if options.check is not None:
        return check(options.out if options.check == Path() else options.check, options.out, options.profile)
    return write_all(options.out, options.profile)


def _watch(arguments: Sequence[str]) -> int:
    options = _parser_of_watch().parse_args(arguments[1:])
    if options.every < 1:
        raise BadCommand(f"--every {options.every}: expected seconds, 1 or more")
    _settle(options)
    return watch(options.study, options.out, options.profile, options.every)


def _settle(options: argparse.Namespace) -> None:
    if options.tracking:
        os.environ[VARIABLE] = options.tracking
    _say(locate(options.out))


def _main(arguments: Sequence[str]) -> int:
    options = _parser().parse_args(arguments)
    if sum(given is not None for given in (options.label, options.set, options.compare)) + options.all > 1:
        raise BadCommand("--label, --set, --all and --compare: expected one of them, each says which campaigns")
    labels = [ALL] if options.all else options.compare or options.label
    try:
        _settle(options)
        found = find(options.study, options.out, options.profile)
        chosen = choose(found, labels, options.set)
        if labels is None and options.set is None:
            _say_what_else(found, chosen[0])
        if options.compare is not None:
            _show(write_comparison(_documents(options, found, chosen, every=ALL in options.compare), options.out))
            return 0
        return _reports(_documents(options, found, chosen, every=labels is not None and ALL in labels), options.out)
    except OSError as error:
        return refuse(f"{error.filename or options.out}: {error.strerror or error}; nothing more was written")


def _reports(campaigns: Sequence[Campaign], out: Path) -> int:
    """A report of each; one without runs does not keep the others from theirs."""
    code = 0
    for campaign in campaigns:
        try:
            _show(write_report(campaign, out))
        except NothingRecorded as error:
            if len(campaigns) == 1:
                raise
            code = refuse(str(error))
    return code


def _documents(
    options: argparse.Namespace, found: Sequence[Found], chosen: Sequence[Found], *, every: bool
) -> list[Campaign]:
    """Their documents. Of every one that there is, those that can be read: of each other a line says why not.

    One that was asked for by name may be an older one of that name, and where none was, any other that there is.
    Raises BadCampaign where none of these can be read.
    """
    by_name = bool(options.label or options.set or options.compare)
    read: list[Campaign] = []
    bad: list[BadCampaign] = []
    for one in chosen:
        instead = [other for other in found if other is not one and (other.label == one.label or not by_name)]
        try:
            campaign, said = one.read() if every else _first_readable([one, *instead])
        except BadCampaign as error:
            if not every:
                raise
            bad.append(error)
            continue
        _say(said)
        read.append(campaign)
    for torn in bad if read else bad[:-1]:
        refuse(str(torn))
    if not read:
        raise bad[-1]
    if every:
        known = {campaign.folder(options.out) for campaign in read}
        for path, said in in_folder(options.study, options.out)[1].items():
            if path.parent not in known and path.is_relative_to(options.out / read[0].profile):
                refuse(said)
    return read


def _first_readable(candidates: Sequence[Found]) -> tuple[Campaign, str]:
    """The first whose document can be read, after a line of each before it that says why not.

    Raises BadCampaign, the first one's, where none can be.
    """
    bad: list[BadCampaign] = []
    for one in candidates:
        try:
            read = one.read()
        except BadCampaign as error:
            bad.append(error)
            continue
        for torn in bad:
            refuse(str(torn))
        return read
    raise bad[0]


def _say_what_else(found: Sequence[Found], chosen: Found) -> None:
    if len(found) > 1:
        which = f"the campaign {chosen.label}" if chosen.label else "the campaign without changes"
        _say(
            f"this is {which}; there is also {named(found, chosen)}; --all writes them all, --compare all compares them"
        )


def _say(text: str) -> None:
    if text:
        print(screen.paragraph(one_line(text)), file=sys.stderr)


def _show(written: Report | Compared) -> None:
    print(f"{written.text}\n")
    screen.print_files(written.folder, written.files)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m reports",
        description="A study's table from the runs that MLflow has. Trains nothing.",
        epilog="python -m reports all: every study's, with an index; python -m reports watch STUDY: again and again,"
        " while its runs go on; python -m reports pair: two checkpoints on the same test puzzles; each has a --help of"
        " its own.",
        allow_abbrev=False,
    )
    parser.add_argument("study", metavar="STUDY", help="recursion_depth, ...; or all, watch, pair")
    _add_where(parser, "default: the only one with runs")
    parser.add_argument(
        "--label",
        action="append",
        metavar="LABEL",
        help="the campaign of that name, lr=0.003; all: every one; default: the one without changes, else the newest",
    )
    parser.add_argument("--all", action="store_true", help="the same as --label all")
    parser.add_argument(
        "--set", action="extend", nargs="+", metavar="NAME=VALUE", help="the campaign that was made with these settings"
    )
    parser.add_argument(
        "--compare",
        action="extend",
        nargs="+",
        metavar="LABEL",
        help="campaigns side by side, each row's best on validation marked; all: every one",
    )
    return parser


def _parser_of_all() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m reports all", description="Every campaign's report, and an index of them.", allow_abbrev=False
    )
    _add_where(parser, "default: all of them")
    parser.add_argument(
        "--check",
        nargs="?",
        const=Path(),
        type=local_path,
        metavar="FOLDER",
        help="write nothing: exit code 1 if a table in this folder (default: that of --out) is not what the store"
        " gives now, or a row that was asked for has no number",
    )
    return parser


def _parser_of_watch() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m reports watch",
        description="A study's reports and the index, written again while its runs go on. Ctrl-C ends it.",
        allow_abbrev=False,
    )
    parser.add_argument("study", metavar="STUDY", help="recursion_depth, ...")
    _add_where(parser, "default: the only one with runs")
    parser.add_argument("--every", type=int, default=EVERY_S, metavar="SECONDS", help=f"default: {EVERY_S}")
    return parser


def _add_where(parser: argparse.ArgumentParser, profile: str) -> None:
    parser.add_argument("--profile", metavar="|".join(EVERY_PROFILE), help=profile)
    parser.add_argument("--out", type=local_path, default=Path("results"), help="default: results")
    parser.add_argument("--tracking", metavar="URI", help=f"the MLflow store; default: {VARIABLE}, else ./mlflow.db")


VERBS: dict[str, Callable[[Sequence[str]], int]] = {
    "all": _all,
    "watch": _watch,
    "pair": lambda arguments: pair.main(arguments[1:]),
}


if __name__ == "__main__":
    sys.exit(main())
