"""Options → what was asked for: a study, a search, or a study with every row tuned.

Looks at what there is to run on, and refuses what makes no sense; starts and writes nothing.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from dataclasses import replace

from data_prep.redaction import redacted
from sweeps.budget import read_budget
from sweeps.campaign import Campaign, declare, read_seeds
from sweeps.changes import read_assignment, read_changes, read_grid
from sweeps.conduct import Asked
from sweeps.machines import Found, Wanted, as_wanted, find_machines
from sweeps.means import Means
from sweeps.names import check_names
from sweeps.options import joined
from sweeps.packing import AUTO, read_gpus_per_run
from sweeps.plan import read_shard, select_rows
from sweeps.prices import find_card, read_price
from sweeps.profiles import PROFILES, configure, find_profile
from sweeps.puzzles import find_sources, source_overrides
from sweeps.screen import paragraph
from sweeps.sought import Sought, study_of
from sweeps.study import EVERY_PUZZLE, ProfileName, Row, Study, find_study
from sweeps.tuning import Tuning
from trm_core.command_line import BadCommand


def read_study(options: argparse.Namespace) -> Study:
    """The study that --study names. Raises the named errors of all that it can be instead."""
    if options.study is None:
        raise BadCommand("no study; say --study recursion_depth, or --list to see them all")
    return find_study(options.study)


def read_asked(options: argparse.Namespace, arguments: Sequence[str], *, plan: bool = False) -> Asked:
    """Options → what was asked for. Raises the named errors of everything that they can get wrong."""
    study = read_study(options)
    seeds, data_seeds = read_seeds(options.seeds), read_seeds(options.data_seeds, "--data-seeds")
    if not options.tune and (options.trials is not None or options.optuna_storage):
        raise BadCommand("--trials and --optuna-storage are for --search and --tune; leave them out")
    changes, grid = read_changes(options.set), read_grid(joined(options.grid))
    gridded = {str(read_assignment(one)).partition("=")[0] for combination in grid for one in combination}
    if both := [one for one in changes if str(read_assignment(one)).partition("=")[0] in gridded]:
        raise BadCommand(f"--set {both[0]}: --grid has values for that too; leave one of them out")
    means = _means(options, arguments)
    profile = _profile(options.profile, means.found)
    rows = select_rows(study, profile, joined(options.only))
    there = {study.puzzle_of(row): configure(study, row, profile, seed=0).data for row in reversed(rows)}
    puzzles = tuple(puzzle for puzzle in EVERY_PUZZLE if puzzle in there)
    sources = find_sources(joined(options.data), puzzles)
    of_data = source_overrides(there, sources, scoped=len(puzzles) > 1)
    campaigns = tuple(
        _campaign(study, rows, profile, [*of_data, *changes, *combination], anyway=options.set_anyway)
        for combination in grid or ((),)
    )
    if means.on is not None and not plan:
        raise BadCommand(f"--on {options.on}: runs are made on what is here; --on is for --plan, --price for --budget")
    return Asked(**{**vars(means), "data": sources}, campaigns=campaigns, rows=rows, seeds=seeds, data_seeds=data_seeds)


def _means(options: argparse.Namespace, arguments: Sequence[str]) -> Means:
    """Options → what a study and a search are given alike, but for their puzzles. Looks at what there is to run on."""
    workers = _workers(options)
    card = find_card(options.on) if options.on else None
    price = read_price(options.price) if options.price else card.price if card else None
    wanted = _wanted(options)
    found = as_wanted(find_machines(ask_nodes=options.gpus_per_run == AUTO), wanted)
    means = Means(
        out=options.out,
        data={},
        launcher=options.launcher,
        workers=workers,
        gpus_per_run=read_gpus_per_run(options.gpus_per_run, workers=workers, gpus=len(found.gpus)),
        yes=options.yes,
        retry_failed=options.retry_failed,
        on=card,
        price=price,
        budget=None,
        found=found,
        command=redacted(shlex.join(["python", "sweeps/run.py", *arguments])),
        only_plan=options.plan,
        wanted=wanted,
        shard=read_shard(options.shard),
    )
    return replace(means, budget=read_budget(options.budget, price, means.places)) if options.budget else means


def _wanted(options: argparse.Namespace) -> Wanted:
    if options.gpus is not None and options.gpus < 0:
        raise BadCommand(f"--gpus {options.gpus}: expected 0 or more")
    if options.wait is not None and not options.gpus:
        raise BadCommand("--wait is for the GPUs of --gpus N; say how many, or leave it out")
    if options.wait is not None and not 0 <= options.wait < 10**6:
        raise BadCommand(f"--wait {options.wait:g}: expected minutes, 0 or more")
    return Wanted(options.gpus, 60 * (options.wait or 0.0), options.ship_code)


def _workers(options: argparse.Namespace) -> int:
    workers: int = options.workers
    if workers < 1:
        raise BadCommand(f"--workers {workers}: expected 1 or more")
    if options.launcher == "inline" and workers > 1:
        raise BadCommand(f"--launcher inline with --workers {workers}: inline runs have one; use --launcher train")
    return workers


def _campaign(
    study: Study, rows: Sequence[Row], profile: ProfileName, changes: Sequence[str], *, anyway: bool
) -> Campaign:
    if not anyway:
        check_names(study, rows, profile, changes)
    return declare(study, profile, changes)


def _profile(name: str | None, found: Found) -> ProfileName:
    """The profile asked for; without one, official where there is a GPU, and it is said."""
    if name is not None:
        return find_profile(name).name
    profile: ProfileName = "official" if found.gpus else "mini"
    there = f"{len(found.gpus)} GPU(s) found" if found.gpus else "no GPU found"
    print(paragraph(f"{there}: profile {profile}. {PROFILES[profile].description} Another one: --profile NAME"))
    return profile


def read_sought(options: argparse.Namespace, arguments: Sequence[str]) -> Sought:
    """Options → the search that was asked for. Raises the named errors of everything that they can get wrong."""
    from sweeps.search_spec import find_search

    for name, given in (("--study", options.study), ("--grid", options.grid), ("--only", options.only)):
        if given:
            raise BadCommand(f"{name} with --search: a search has its own row and space; leave one of them out")
    if options.shard:
        raise BadCommand("--shard with --search: a search is one, its trials follow each other; leave it out")
    if options.seeds != "1" or options.data_seeds != "1":
        raise BadCommand("--seeds with --search: the search says how many seeds a trial has; leave it out")
    search = find_search(options.search)
    means = _means(options, arguments)
    profile = _profile(options.profile, means.found)
    of_row = configure(study_of(search), search.row, profile, seed=0).data
    sources = find_sources(joined(options.data), (search.on,))
    return Sought(
        **{**vars(means), "data": sources},
        search=search,
        profile=profile,
        changes=(*source_overrides({search.on: of_row}, sources, scoped=False), *read_changes(options.set)),
        trials=search.trials if options.trials is None else options.trials,
        storage=options.optuna_storage,
    )


def read_tuning(options: argparse.Namespace, arguments: Sequence[str]) -> Tuning:
    """Options → the study to be tuned. Raises the named errors of everything that they can get wrong."""
    from sweeps.search_spec import find_search

    if options.search:
        raise BadCommand("--search with --tune: a search has its own row, --tune takes those of --study; leave one out")
    if options.shard:
        raise BadCommand("--shard with --tune: a row's trials follow each other; leave it out")
    search = find_search(options.tune)
    return Tuning(
        asked=read_asked(options, arguments, plan=options.plan),
        search=search,
        trials=search.trials if options.trials is None else options.trials,
        storage=options.optuna_storage,
        anyway=options.set_anyway,
    )
