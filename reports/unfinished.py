"""The report of a search, or of a tuned study, while its runs go on: `python -m reports.unfinished SNAPSHOT`.

The launch leaves a snapshot and has it written by this, a process of its own (sweeps/refresh.py).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from reports.live import Live
from reports.search_report import NothingSearched, write_search_report
from reports.tune_report import write_tune_report
from sweeps.search_record import SearchRecord
from sweeps.snapshot import BadSnapshot, take
from trm_core.command_line import answered, refuse


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Returns its exit code."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    return answered(lambda: _write([Path(one) for one in given]))


def _write(paths: Sequence[Path]) -> int:
    for path in paths:
        try:
            of = take(path)
            live = Live(of.headline, (), of.written_ms, of.anew)
            if isinstance(of.record, SearchRecord):
                write_search_report(of.record, path.parent, live)
            else:
                write_tune_report(of.record, path.parent, live)
        except (BadSnapshot, NothingSearched) as error:
            return refuse(str(error))
    return 0


if __name__ == "__main__":
    sys.exit(main())
