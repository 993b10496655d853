"""`python -m reports recursion_depth`: the study's table from the runs that MLflow has. Trains nothing."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from reports.choose import ALL, Found, choose, find, in_folder, named
from reports.compare import Compared, write_comparison
from reports.plain import one_line
from reports.report import NothingRecorded, Report, write_report
from sweeps import screen
from sweeps.campaign import BadCampaign, Campaign
from sweeps.records.address import VARIABLE, locate
from sweeps.study import EVERY_PROFILE
from trm_core.command_line import BadCommand, Parser, answered, refuse


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Returns its exit code: 0, or 2 for what the user can mend, said in one line."""
    return answered(lambda: _main(_parser().parse_args(arguments)))


def _main(options: argparse.Namespace) -> int:
    if options.tracking:
        os.environ[VARIABLE] = options.tracking
    if sum(given is not None for given in (options.label, options.set, options.compare)) + options.all > 1:
        raise BadCommand("--label, --set, --all and --compare: expected one of them, each says which campaigns")
    labels = [ALL] if options.all else options.compare or options.label
    try:
        _say(locate(options.out))
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
    print(written.text)
    print(paths(written))


def paths(written: Report | Compared) -> str:
    """Where it lies, a line per file."""
    return "\n".join(str(written.folder / name) for name in written.files)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m reports", description=__doc__, allow_abbrev=False)
    parser.add_argument("study", metavar="STUDY", help="recursion_depth, ...")
    parser.add_argument("--profile", metavar="|".join(EVERY_PROFILE), help="default: the only one with runs")
    parser.add_argument("--out", type=Path, default=Path("results"), help="default: results")
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
    parser.add_argument("--tracking", metavar="URI", help=f"the MLflow store; default: {VARIABLE}, else ./mlflow.db")
    return parser


if __name__ == "__main__":
    sys.exit(main())
