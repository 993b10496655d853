"""The scales at which a study is run: mini, official, paper. A study names switches; a profile sets sizes."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from sweeps.recipes import recipe
from sweeps.study import BaseName, ProfileName, Row, Study
from trm_core.config import RunConfig, Settings


class UnknownProfile(ValueError):
    """A profile name that does not exist."""


class Profile(Settings):
    """What a recipe (official scale) becomes at this scale."""

    name: ProfileName
    description: str  # one sentence
    comparable: bool  # with the paper's column; printed on the table's face
    note: str = ""  # printed under every table of this profile
    change: dict[str, dict[str, Any]] = Field(default_factory=dict)  # to every recipe; an EMA it has not stays off
    change_base: dict[BaseName, dict[str, dict[str, Any]]] = Field(default_factory=dict)  # and to one of them


PROFILES: dict[ProfileName, Profile] = {
    "mini": Profile(
        name="mini",
        description="Small models on 6x6 Sudoku generated on the spot: minutes on two CPU cores.",
        comparable=False,
        note=(
            "300 steps are few: at this size HRM k=1, T=1 had solved nothing at step 600 and 87 % at step 1,200"
            " (docs/LOG.md). Short runs can invert the paper's order."
        ),
        change={
            "data": {
                "source": "generated",
                "box_rows": 2,
                "box_cols": 3,
                "clues": 22,  # of 36 cells: easy enough to be learnt in minutes
                "train": 2000,
                "validation": 200,
                "test": 400,
            },
            "model": {"D": 48, "n_heads": 2, "N_sup": 4, "puzzle_prefix": 1, "inner_multiple": 16},
            "optim": {
                "lr": 3e-3,
                "beta2": 0.99,
                "weight_decay": 0.1,
                "embedding_lr": 3e-3,
                "embedding_weight_decay": 0.1,
                "warmup_steps": 20,
                "ema": 0.95,  # an average over 20 steps: the runs are short
                "ema_covers": "all",
            },
            "train": {
                "steps": 300,
                "batch_size": 32,
                "precision": "fp32",
                "eval_every": 50,
                "eval_puzzles": 100,
                "checkpoint_every": 50,
                "log_every": 5,
            },
        },
        # At 3e-3 attention stays at chance (docs/LOG.md, 2026-11-22); the MLP mixer learns fastest there.
        change_base={"hrm": {"optim": {"lr": 1e-3}}, "trm_att": {"optim": {"lr": 1e-3}}},
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
        change={
            "model": {
                "puzzle_prefix": 1,  # the released code pads one vector to 16 positions
                "halting_loss_weight": 1.0,  # the paper adds the halting loss as it is, the released code half of it
            },
            "optim": {"name": "adamw", "ema_covers": "all"},
            "train": {"steps": 78125},  # 60k epochs of 1,000 puzzles at batch 768; the released code stops at 50k
        },
    ),
}


def find_profile(name: str) -> Profile:
    """The profile of that name. Raises UnknownProfile with the nearest right name."""
    for profile in PROFILES.values():
        if profile.name == name:
            return profile
    close = difflib.get_close_matches(name, PROFILES, n=1, cutoff=0.4)
    hint = f"did you mean {close[0]}?" if close else f"profiles are {', '.join(PROFILES)}"
    raise UnknownProfile(f"{name!r}: no such profile; {hint}")


def configure(study: Study, row: Row, profile: ProfileName, seed: int, overrides: Sequence[str] = ()) -> RunConfig:
    """The run behind one row at one seed. Raises BadSetting.

    In this order, the later winning: the base recipe, the profile, the row's change, the seed, the overrides
    ("model.D=96"). Only the end has to hold together, so a row may undo what a profile alone could not do without.
    """
    base = recipe(row.base, study.puzzle)
    scale = PROFILES[profile]
    settings = _over(base.model_dump(), _fitting(scale.change, base))
    settings = _over(settings, scale.change_base.get(row.base, {}))
    settings = _over(settings, row.change)
    settings = _over(settings, {"train": {"seed": seed}})
    return RunConfig.parse(settings).set(overrides)


def _fitting(change: Mapping[str, Mapping[str, Any]], base: RunConfig) -> dict[str, dict[str, Any]]:
    """The profile's change without what this recipe has switched off: no profile gives HRM an EMA."""
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
