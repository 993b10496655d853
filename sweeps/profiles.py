"""The scales at which a study is run: mini, official, paper, fast. A study names switches; a profile sets sizes.

A profile is a list of changes to the recipes, each with its reason; `differences` reads two profiles side by side.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from pydantic import Field

from sweeps.changes import for_row
from sweeps.declared import nearest
from sweeps.recipes import recipe
from sweeps.study import EVERY_BASE, EVERY_PUZZLE, PUZZLES_OF, BaseName, ProfileName, PuzzleName, Row, Study
from trm_core.config import RunConfig
from trm_core.settings import BadSetting, Settings
from trm_core.settings_as_text import assigned, setting_text


class UnknownProfile(ValueError):
    """A profile name that does not exist."""


class NotAtThisScale(ValueError):
    """A puzzle that a profile has no settings for."""


class Change(Settings):
    """Settings that a profile changes, why, and on which puzzles and recipes."""

    settings: dict[str, dict[str, Any]]  # an EMA that a recipe has not stays off
    why: str  # one clause, its source first
    puzzles: tuple[PuzzleName, ...] = EVERY_PUZZLE
    bases: tuple[BaseName, ...] = EVERY_BASE
    # and only on runs that have these settings, whoever gave them: {"model": {"features": "single z"}}
    where: dict[str, dict[str, Any]] = Field(default_factory=dict)

    def fits(self, run: RunConfig) -> bool:
        """Whether the run has the settings that the change asks for."""
        found = run.flat()
        return all(found[name] == value for name, value in flat(self.where).items())


class Kept(Settings):
    """What a profile leaves as the released code has it, although its source does not have it."""

    what: str  # in words, with its setting
    why: str


class Profile(Settings):
    """What a recipe (official scale) becomes at this scale."""

    name: ProfileName
    description: str  # one sentence
    comparable: bool  # with the paper's column; printed on the table's face
    note: str = ""  # printed under every table of this profile
    puzzles: tuple[PuzzleName, ...] = EVERY_PUZZLE  # that it has settings for
    changes: tuple[Change, ...] = ()  # in order, the later winning
    kept: tuple[Kept, ...] = ()

    def changes_to(self, base: BaseName, puzzle: PuzzleName) -> tuple[Change, ...]:
        """Those that touch this recipe on this puzzle, whatever else a run of it is."""
        return tuple(change for change in self._about(base, puzzle) if not change.where)

    def changes_to_run(self, base: BaseName, puzzle: PuzzleName, run: RunConfig) -> tuple[Change, ...]:
        """Those that touch this very run of the recipe for a setting that it has."""
        return tuple(change for change in self._about(base, puzzle) if change.where and change.fits(run))

    def _about(self, base: BaseName, puzzle: PuzzleName) -> Iterable[Change]:
        return (change for change in self.changes if base in change.bases and puzzle in change.puzzles)


PROFILES: dict[ProfileName, Profile] = {
    "mini": Profile(
        name="mini",
        description="Small models on small puzzles generated on the spot: minutes on two CPU cores.",
        comparable=False,
        note=(
            "Few steps of easy puzzles: rows differ in when they leave chance, more than in where they end"
            " (docs/LOG.md). Short runs can invert the paper's order."
        ),
        changes=(
            Change(
                settings={
                    "data": {
                        "source": "generated",
                        "box_rows": 2,
                        "box_cols": 3,
                        "clues": 31,  # of 36 cells
                        "train": 2000,
                        "validation": 200,
                        "test": 400,
                    }
                },
                why="6x6 puzzles, made on the spot, so easy that attention too solves some within minutes",
                puzzles=("sudoku",),
            ),
            Change(
                settings={
                    "data": {
                        "source": "generated",
                        "side": 5,
                        "least_path": 6,
                        "train": 4000,
                        "validation": 100,
                        "test": 200,
                    }
                },
                why="5x5 mazes, made on the spot, with paths of 6 cells or more",
                puzzles=("maze",),
            ),
            Change(
                settings={
                    "data": {"source": "generated", "side": 6, "train": 20, "test": 20, "augmentations": 3},
                },
                why="ARC-like tasks on a 6x6 canvas, made on the spot: few identifiers, each met often",
                puzzles=("arc",),
            ),
            Change(
                settings={
                    "model": {"D": 48, "n_heads": 2, "N_sup": 4, "inner_multiple": 16},
                    "train": {"batch_size": 32, "precision": "fp32"},
                },
                why="two CPU cores: small, short, and no bf16 there",
            ),
            Change(
                settings={"train": {"steps": 350, "batch_size": 16}},
                why="more steps of fewer puzzles: what it takes until HRM solves some (docs/LOG.md)",
                puzzles=("sudoku",),
            ),
            Change(
                settings={"model": {"exploration": 1.0}},
                why="a puzzle that may halt after one step teaches nothing of the later ones, and HRM then solves fewer"
                " with each (docs/LOG.md); 0.1 in the released code, over 16 steps",
                puzzles=("sudoku",),
            ),
            Change(
                settings={"train": {"steps": 1000}},
                why="at step 400 TRM-Att solves 1 % of these mazes, at step 800 8 % (docs/LOG.md)",
                puzzles=("maze",),
            ),
            Change(
                settings={"train": {"steps": 1000}},
                why="what TRM-Att needs to solve some of these tasks (docs/LOG.md)",
                puzzles=("arc",),
            ),
            Change(settings={"model": {"puzzle_prefix": 1}}, why="one position, as in the paper"),
            Change(
                settings={
                    "optim": {
                        "beta2": 0.99,
                        "embedding_lr": 3e-3,
                        "embedding_weight_decay": 0.1,
                        "ema": 0.95,
                        "ema_covers": "all",
                    }
                },
                why="what learns in few steps (docs/LOG.md); an EMA of 0.95 averages over 20 of them",
            ),
            Change(
                settings={"optim": {"lr": 2e-3, "weight_decay": 1.0, "warmup_steps": 60, "schedule": "cosine"}},
                why="one rate for all rows: at 3e-3 HRM stays at chance, with a decay of 0.1 it learns later; at a"
                " constant rate accuracy falls from one supervision step to the next (docs/LOG.md)",
                puzzles=("sudoku",),
            ),
            Change(
                settings={"optim": {"lr": 3e-3, "weight_decay": 0.1, "warmup_steps": 20}},
                why="what learns in 1,000 steps (docs/LOG.md)",
                puzzles=("maze", "arc"),
            ),
            Change(
                settings={"optim": {"lr": 1e-3}},
                why="at 3e-3, the rate of the MLP mixer, attention stays at chance (docs/LOG.md)",
                puzzles=("maze", "arc"),
                bases=("trm_att", "hrm", "direct"),
            ),
            Change(
                settings={"optim": {"embedding_lr": 3e-2}},
                why="an identifier is met in few of the steps; 1e-2 in the released code, in many more of them",
                puzzles=("arc",),
            ),
            Change(
                settings={"train": {"eval_every": 50, "eval_puzzles": 100, "checkpoint_every": 50, "log_every": 5}},
                why="looked at more often, on fewer puzzles",
            ),
            Change(
                settings={"model": {"head_channels": None}},
                why="heads that share the channels evenly; 12 heads of 42 where D is 512",
                bases=("direct",),
            ),
            Change(
                settings={"train": {"eval_puzzles": 50}},
                why="with batches of 16 a look at 100 costs half of what the steps before it took",
                puzzles=("sudoku",),
            ),
        ),
    ),
    "official": Profile(
        name="official",
        description="The released code's settings, on the published puzzles: hours to days per run on a GPU.",
        comparable=True,
    ),
    "paper": Profile(
        name="paper",
        description="The paper's settings where the released code's differ: 60k epochs, AdamW, one prefix position.",
        comparable=True,
        changes=(
            Change(
                settings={"train": {"steps": 78125}},
                why="60k epochs of 1,000 puzzles at batch 768 (paper, appendix); 50k (released code, README)",
                puzzles=("sudoku", "maze"),
            ),
            Change(
                settings={"optim": {"name": "adamw"}},
                why="AdamW (paper, appendix); AdamATan2 (released code, trainer)",
            ),
            Change(
                settings={"model": {"n": 6}},
                why="T=3, n=6 throughout (paper); L_cycles=4 (released code, README)",
                puzzles=("maze", "arc"),
                bases=("trm", "trm_att"),
            ),
            Change(
                settings={"model": {"puzzle_prefix": 1}},
                why="one position (paper); one vector padded to 16 (released code, model)",
            ),
            Change(
                settings={"model": {"halting_loss_weight": 1.0}},
                why="the halting loss as it is (paper, figure 3); half of it (released code, losses)",
            ),
            Change(
                settings={"optim": {"ema_covers": "all"}},
                why="of all weights (paper, section 4.7); not of the puzzle embedding (released code, trainer)",
            ),
            Change(
                settings={"data": {"augmentations": 7}},
                why="8 dihedral variants, the original one of them (paper, appendix); off (released code, builder)",
                puzzles=("maze",),
            ),
            Change(
                settings={"model": {"single_z": "figure 4"}},
                why="z from z and x in all n+1 calls (paper, figure 4); the last call without x (released code, model)",
                where={"model": {"features": "single z"}},
            ),
        ),
        kept=(
            Kept(
                what="exploration in halting (model.exploration=0.1)",
                why="it stands in the released code and in none of the paper's listings",
            ),
            Kept(
                what="SignSGD on the puzzle embedding (optim.embedding_lr, optim.embedding_weight_decay)",
                why="the released code's; the paper names AdamW only",
            ),
            Kept(
                what="direct prediction's 12 heads of 42 channels (model.n_heads, model.head_channels)",
                why="the released code's; the paper quotes its numbers from Wang et al.",
            ),
            Kept(
                what="HRM by its own recipe: 20,000 epochs, AdamATan2, half of the halting loss, ARC-AGI-2 without"
                " ConceptARC",
                why="from its own README, as rows beside HRM trained as TRM in puzzles and arc_agi; the paper quotes"
                " Wang et al.",
            ),
        ),
    ),
    "fast": Profile(
        name="fast",
        description="Another recipe for the published Sudokus, at full size: 8,000 steps in place of 65,104.",
        comparable=False,
        note=(
            "Architecture, training puzzles and test set are those of official; the training is another, the same for"
            " all rows and tuned for TRM-MLP alone. So an accuracy here is a claim of this recipe, not a replication of"
            " the paper's."
        ),
        puzzles=PUZZLES_OF["fast"],
        changes=(
            Change(
                settings={"model": {"puzzle_prefix": 1}},
                why="one position, the paper's: a quarter fewer operations a step",
            ),
            Change(
                settings={"optim": {"lr": 3e-4, "beta2": 0.99, "weight_decay": 0.3, "warmup_steps": 200}},
                why="three times the rate and a short warm-up leave chance sooner (study speed); the gradients'"
                " squares are averaged over more steps to bear it, and rate times decay is nearly what it was",
            ),
            Change(
                settings={"optim": {"ema": 0.99}},
                why="an average over 100 steps: one over 1,000 is an eighth of the run behind",
            ),
            Change(
                settings={"train": {"batch_size": 384}},
                why="steps count more than the puzzles in them (docs/LOG.md); 384 in jvdillon/sic",
            ),
            Change(
                settings={"optim": {"schedule": "cosine", "final_lr": 0.1}, "train": {"steps": 8000}},
                why="a rate that falls over as many steps as minutes allow (8,000 in jvdillon/sic), not to 0: what is"
                " understood late needs some (docs/LOG.md)",
            ),
            Change(
                settings={"train": {"eval_every": 1000, "eval_puzzles": 1000}},
                why="looked at more often, on fewer puzzles: a twentieth of the training",
            ),
        ),
    ),
}


def find_profile(name: str) -> Profile:
    """The profile of that name. Raises UnknownProfile with the nearest right name."""
    for profile in PROFILES.values():
        if profile.name == name:
            return profile
    raise UnknownProfile(f"{name!r}: no such profile; {nearest(name, PROFILES, 'profiles')}")


def configure(study: Study, row: Row, profile: ProfileName, seed: int, overrides: Sequence[str] = ()) -> RunConfig:
    """The run behind one row at one seed. Raises BadSetting, NotAtThisScale.

    In this order, the later winning: the base recipe, the profile, the row's change, its change in this profile, the
    seed, the overrides ("model.D=96", or "maze:model.D=96" for rows on mazes alone, "hrm:model.D=96" for HRM's). Only
    the end has to hold together, so a row may undo what a profile alone could not do without. What a profile changes
    where a run has some setting is looked for at the end, and then stands with the profile's other changes.
    """
    at_scale = _at_scale(row.base, study.puzzle_of(row), PROFILES[profile])

    def over(settings: Mapping[str, Any]) -> RunConfig:
        asked = assigned(for_row(study, row, overrides))
        for change in (row.change, row.change_in.get(profile, {}), {"train": {"seed": seed}}, asked):
            settings = _over(settings, change)
        return RunConfig.parse(settings)

    run = over(at_scale)
    if further := PROFILES[profile].changes_to_run(row.base, study.puzzle_of(row), run):
        for change in further:
            at_scale = _over(at_scale, change.settings)
        run = over(at_scale)
    if run.data.puzzle != study.puzzle_of(row):
        raise BadSetting(
            f"data.puzzle={run.data.puzzle}: {row.name!r} is a row on {study.puzzle_of(row)}, and its settings are"
            " for that puzzle; leave data.puzzle out"
        )
    return run


def _at_scale(base: BaseName, puzzle: PuzzleName, profile: Profile) -> dict[str, dict[str, Any]]:
    """The recipe's settings under the profile. Raises NotAtThisScale."""
    if puzzle not in profile.puzzles:
        able = [other.name for other in PROFILES.values() if puzzle in other.puzzles]
        raise NotAtThisScale(f"profile {profile.name} has no {puzzle} puzzles; use {' or '.join(able)}")
    run = recipe(base, puzzle)
    settings = run.model_dump()
    for change in profile.changes_to(base, puzzle):
        settings = _over(settings, _fitting(change.settings, run))
    return settings


def _fitting(change: Mapping[str, Mapping[str, Any]], base: RunConfig) -> dict[str, dict[str, Any]]:
    """A profile's change without what this recipe has switched off: no profile gives HRM an EMA."""
    off = {"optim": {"ema", "ema_covers"}} if base.optim.ema is None else {}
    return {
        section: {name: value for name, value in values.items() if name not in off.get(section, set())}
        for section, values in change.items()
    }


def _over(settings: Mapping[str, Any], change: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """`settings` with `change` laid over it, section by section."""
    over = copy.deepcopy(dict(settings))
    for section, values in change.items():
        over[section].update(values)
    return over


# --- two profiles side by side ---------------------------------------------------------------------------------------

Place = tuple[PuzzleName, BaseName]


@dataclass(frozen=True)
class Difference:
    """A setting that two profiles do not share, on the puzzles and recipes where its two values are these."""

    setting: str  # "model.n"
    puzzles: tuple[PuzzleName, ...]
    bases: tuple[BaseName, ...]
    values: tuple[Any, Any]
    why: str
    where: str = ""  # on runs alone that have this setting: "model.features=single z"


def shared_puzzles(first: Profile, second: Profile) -> tuple[PuzzleName, ...]:
    """The puzzles that both profiles have settings for."""
    return tuple(puzzle for puzzle in EVERY_PUZZLE if puzzle in first.puzzles and puzzle in second.puzzles)


def differences(first: Profile, second: Profile) -> tuple[Difference, ...]:
    """What differs between two profiles on the puzzles they share, setting by setting."""
    places: dict[tuple[str, tuple[Any, Any], str], list[Place]] = {}
    for puzzle, base in product(shared_puzzles(first, second), EVERY_BASE):
        one, other = (RunConfig.parse(_at_scale(base, puzzle, profile)).flat() for profile in (first, second))
        for setting in one:
            if one[setting] != other[setting]:
                why = _why(setting, (base, puzzle), first, second)
                places.setdefault((setting, (one[setting], other[setting]), why), []).append((puzzle, base))
    found = [
        Difference(setting, of_puzzles, bases, values, why)
        for (setting, values, why), where in places.items()
        for of_puzzles, bases in _blocks(where)
    ]
    order = list(RunConfig().flat())
    return tuple(sorted(found, key=lambda difference: order.index(difference.setting)))


def differences_where(first: Profile, second: Profile) -> tuple[Difference, ...]:
    """What differs on those runs alone that have some setting, which no recipe has by itself."""
    defaults, found = RunConfig().flat(), []
    puzzles = shared_puzzles(first, second)
    for number, profile in enumerate((first, second)):
        for change in profile.changes:
            if change.where:
                where = ", ".join(f"{name}={setting_text(value)}" for name, value in flat(change.where).items())
                for setting, value in flat(change.settings).items():
                    values = (value, defaults[setting]) if number == 0 else (defaults[setting], value)
                    here = tuple(puzzle for puzzle in change.puzzles if puzzle in puzzles)
                    found.append(Difference(setting, here, change.bases, values, change.why, where))
    return tuple(found)


def flat(settings: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """{"model": {"n": 2}} as {"model.n": 2}."""
    return {f"{section}.{name}": value for section, part in settings.items() for name, value in part.items()}


def _why(setting: str, of: tuple[BaseName, PuzzleName], first: Profile, second: Profile) -> str:
    """The reason of whichever profile changes it; both, named, where both do."""
    section, _, name = setting.partition(".")
    reasons: dict[str, str] = {}
    for profile in (first, second):
        for change in profile.changes_to(*of):
            if name in change.settings.get(section, {}):
                reasons[profile.name] = change.why
    if len(reasons) == 1:
        return next(iter(reasons.values()))
    return "; ".join(f"{name}: {why}" for name, why in reasons.items())


def _blocks(places: Collection[Place]) -> Iterable[tuple[tuple[PuzzleName, ...], tuple[BaseName, ...]]]:
    """Places as few blocks of puzzles x recipes: puzzles with the same recipes stand together."""
    by_puzzle = {puzzle: tuple(base for of, base in places if of == puzzle) for puzzle, _ in places}
    for bases in dict.fromkeys(by_puzzle.values()):
        yield tuple(puzzle for puzzle, those in by_puzzle.items() if those == bases), bases
