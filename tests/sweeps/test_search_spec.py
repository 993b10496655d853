"""Search: what is refused where it is declared, and the searches that ship."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from sweeps.profiles import configure
from sweeps.search_spec import (
    RECORDED,
    SEARCHES,
    BadSearch,
    Choices,
    Confirmation,
    Dimension,
    Floats,
    Integers,
    Objective,
    Pruning,
    Search,
    UnknownSearch,
    decide,
    find_search,
    in_order,
    searches_and_faults,
)
from sweeps.study import EVERY_PROFILE, Row, Study, study_names
from trm_core.config import RunConfig
from trm_core.settings import OptimSettings

LR = Dimension(setting="optim.lr", range=Floats(low=1e-4, high=1e-2, log=True))
MIXER = Dimension(setting="model.mixer", range=Choices(values=("mlp", "attention")))
HEADS = Dimension(setting="model.n_heads", range=Integers(low=1, high=8), when={"model.mixer": ("attention",)})
ACCURACY = Objective(metric="validation/exact_accuracy", direction="maximize")
FLOPS = Objective(metric="flops", direction="minimize")

HAS_MUON = "muon" in get_args(OptimSettings.model_fields["name"].annotation)
MUON = pytest.mark.skipif(not HAS_MUON, reason="optim.name has no muon yet")
SHIPPED = [pytest.param(name, marks=MUON if name == "optimiser" else ()) for name in SEARCHES.names()]


def _search(*space: Dimension, **changes: Any) -> Search:
    told: dict[str, Any] = {
        "name": "mine",
        "title": "Mine",
        "puzzle": "sudoku",
        "row": Row(name="TRM", base="trm"),
        "space": space or (LR,),
        "objectives": (ACCURACY,),
        "trials": 10,
    }
    return Search(**told | changes)


# --- ranges ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        (lambda: Floats(low=1, high=1), "low=1.0, high=1.0: expected low below high"),
        (lambda: Floats(low=2, high=1), "expected low below high"),
        (lambda: Floats(low=0, high=1, log=True), "low=0.0 with log: a logarithmic range starts above 0"),
        (lambda: Floats(low=1, high=math.inf), "finite number"),
        (lambda: Floats(low=math.nan, high=1), "finite number"),
        (lambda: Integers(low=3, high=3), "expected low below high"),
        (lambda: Integers(low=0, high=3, log=True), "starts above 0"),
        (lambda: Integers(low=1, high=9, log=True, step=2), "a logarithmic range has no steps"),
        (lambda: Integers(low=1, high=8, step=2), "1 to 8 in steps of 2 ends at 7; set high=7"),
        (lambda: Integers(low=1, high=3, step=5), "step=5 from 1 leaves 3 out; set it to 2 or less"),
        (lambda: Integers(low=1, high=3, step=0), "greater than or equal to 1"),
        (lambda: Integers(low=1, high=2.5), "valid integer"),
        (lambda: Choices(values=("mlp",)), "at least 2 items"),
        (lambda: Choices(values=("mlp", "mlp")), "mlp is there twice; leave one out"),
    ],
)
def test_a_range_with_nothing_in_it_is_refused(declared: Any, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        declared()


# --- dimensions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "values", "said"),
    [
        ("optim.lrr", LR.range, "optim.lrr: no such setting; did you mean optim.lr?"),
        ("lr", LR.range, "lr: no such setting; did you mean optim.lr?"),
        ("optim.lr", Floats(low=0, high=1), "optim.lr=0.0: input should be greater than 0"),
        ("optim.beta1", Floats(low=0.5, high=1), "optim.beta1=1.0: input should be less than 1"),
        ("model.D", Integers(low=1, high=64), "model.D=1: input should be greater than or equal to 2"),
        ("model.T", Floats(low=1, high=3), "model.T: takes whole numbers; give Integers(low=…, high=…)"),
        ("model.mixer", Floats(low=1, high=3), "model.mixer: a range of numbers for mlp | attention; give Choices"),
        ("data.subsets", Integers(low=1, high=3), "data.subsets: a range of numbers for text; give Choices"),
        ("model.mixer", Choices(values=("mlp", "atention")), "model.mixer='atention': input should be 'mlp' or"),
        ("model.T", Choices(values=(1, 0)), "model.T=0: input should be greater than or equal to 1"),
        ("model.T", Choices(values=(1, 1.5)), "model.T=1.5: input should be a valid integer"),
        ("model.T", Choices(values=(1, None)), "model.T='none': input should be a valid integer"),
        ("train.seed", Integers(low=0, high=9), "train.seed: a seed is no setting to choose"),
        ("data.seed", Integers(low=0, high=9), "data.seed: a seed is no setting to choose"),
        ("data.puzzle", Choices(values=("sudoku", "maze")), "data.puzzle: a search is on one puzzle"),
        ("train.log_every", Integers(low=1, high=9), "train.log_every: it moves no number"),
    ],
)
def test_a_dimension_that_its_setting_would_refuse_is_refused_by_name(setting: str, values: Any, said: str) -> None:
    with pytest.raises(ValidationError) as error:
        Dimension(setting=setting, range=values)
    assert said in str(error.value)


def test_whole_numbers_may_be_the_values_of_a_setting_of_numbers_and_none_of_one_that_takes_it() -> None:
    Dimension(setting="optim.weight_decay", range=Integers(low=0, high=3))
    Dimension(setting="optim.ema", range=Choices(values=(None, 0.9)))
    Dimension(setting="data.allow_leak", range=Choices(values=(True, False)))


@pytest.mark.parametrize(
    ("when", "said"),
    [
        ({"model.mixxer": ("mlp",)}, "model.mixxer: no such setting; did you mean model.mixer?"),
        ({"model.mixer": ("mpl",)}, "model.mixer='mpl': input should be 'mlp' or 'attention'"),
        ({"model.mixer": ()}, "at least 1 item"),
    ],
)
def test_a_condition_on_what_is_not_there_is_refused_by_name(when: dict[str, tuple[str, ...]], said: str) -> None:
    with pytest.raises(ValidationError, match=said.replace("?", r"\?")):
        Dimension(setting="model.n_heads", range=HEADS.range, when=when)


# --- the space -------------------------------------------------------------------------------------------------------


def test_conditions_in_a_circle_are_refused_with_the_circle() -> None:
    one = Dimension(setting="model.T", range=Integers(low=1, high=3), when={"model.n": (1,)})
    other = Dimension(setting="model.n", range=Integers(low=1, high=3), when={"model.T": (1,)})
    with pytest.raises(
        ValidationError, match=r"a circle of conditions: model\.(T → model\.n|n → model\.T) → model\.[Tn];"
    ):
        _search(one, other)
    with pytest.raises(ValidationError, match=r"a circle of conditions: model\.T → model\.T; leave one"):
        _search(Dimension(setting="model.T", range=Integers(low=1, high=3), when={"model.T": (1,)}))


def test_a_condition_that_never_holds_is_refused() -> None:
    mixer = Dimension(setting="model.mixer", range=Choices(values=("mlp", "attention")))
    T = Dimension(setting="model.T", range=Integers(low=1, high=3))
    waits = Dimension(setting="model.n", range=Integers(low=1, high=3), when={"model.T": (4,)})
    with pytest.raises(ValidationError, match=r"space: model\.n waits for model\.T=4, which no proposal has"):
        _search(mixer, T, waits)
    _search(mixer, waits)  # the base row has one T or another


def test_a_setting_is_not_varied_twice_but_at_different_times() -> None:
    with pytest.raises(ValidationError, match=r"space: two dimensions of optim\.lr can be there at once"):
        _search(LR, LR)
    mlp = Dimension(name="lr of mlp", setting="optim.lr", range=LR.range, when={"model.mixer": ("mlp",)})
    other = Dimension(name="lr", setting="optim.lr", range=LR.range, when={"model.mixer": ("attention",)})
    search = _search(MIXER, mlp, other)
    base = RunConfig().flat()
    params = decide(search.space, base, lambda dimension: "attention" if dimension == MIXER else 0.5)
    assert params == {"model.mixer": "attention", "lr": 0.5}
    assert search.change_of(params) == {"model": {"mixer": "attention"}, "optim": {"lr": 0.5}}
    with pytest.raises(ValidationError, match="space: two dimensions are named 'lr'"):
        _search(MIXER, mlp.model_copy(update={"name": "lr"}), other)


def test_a_condition_looks_at_the_proposal_first_and_else_at_the_base_row() -> None:
    def first(dimension: Dimension) -> Any:
        return dimension.range.ends[0]

    base = RunConfig().flat()
    assert decide((HEADS, LR), base, first) == {"optim.lr": 1e-4}
    assert decide((HEADS, LR), base | {"model.mixer": "attention"}, first) == {"optim.lr": 1e-4, "model.n_heads": 1}
    assert decide((HEADS, MIXER), base | {"model.mixer": "attention"}, first) == {"model.mixer": "mlp"}
    assert [dimension.name for dimension in in_order((HEADS, LR, MIXER))].index("model.mixer") == 0


# --- the search ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"space": ()}, "at least 1 item"),
        ({"objectives": ()}, "at least 1 item"),
        ({"trials": 0}, "greater than or equal to 1"),
        ({"seeds": 0}, "greater than or equal to 1"),
        ({"lag": 0}, "greater than or equal to 1"),
        ({"objectives": (ACCURACY, ACCURACY)}, "objectives: validation/exact_accuracy is there twice"),
        (
            {"objectives": (ACCURACY, FLOPS), "pruning": Pruning(rungs=(0.5,), metric="train/loss")},
            "pruning with 2 objectives: no order to prune by",
        ),
        (
            {"objectives": (Objective(metric="validation/shortest_path_accuracy", direction="maximize"),)},
            "validation/shortest_path_accuracy: runs on sudoku do not record it",
        ),
    ],
)
def test_what_is_no_search_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        _search(**changes)


@pytest.mark.parametrize(
    ("metric", "said"),
    [
        (
            "test/exact_accuracy",
            "test/exact_accuracy: a search never sees the test set; did you mean validation/exact_accuracy?",
        ),
        ("test/pass_at_2", "test/pass_at_2: a search never sees the test set; metrics are validation/"),
        ("validation/exact_acuracy", "runs do not record it; did you mean validation/exact_accuracy?"),
        ("time/steps_per_second", "time/steps_per_second: runs do not record it"),
    ],
)
def test_an_objective_that_selection_may_not_see_or_that_is_not_recorded_is_refused(metric: str, said: str) -> None:
    with pytest.raises(ValidationError) as error:
        Objective(metric=metric, direction="maximize")
    assert said in str(error.value)
    with pytest.raises(ValidationError):
        Pruning(rungs=(0.5,), metric=metric)


def test_a_run_records_what_a_search_may_aim_at() -> None:
    import trm_core.metrics

    said = trm_core.metrics.__doc__ or ""
    for metric in RECORDED:
        assert metric in said.replace("{validation,test}", "validation"), metric


@pytest.mark.parametrize("rungs", [(), (0.0,), (1.0,), (0.5, 0.25), (0.5, 0.5), (-0.1,)])
def test_rungs_rise_within_a_run(rungs: tuple[float, ...]) -> None:
    with pytest.raises(ValidationError):
        Pruning(rungs=rungs, metric="train/loss")


def test_confirming_seeds_are_none_that_have_chosen() -> None:
    assert _search(seeds=2, confirmation=Confirmation(best=3, seeds=4)).confirming_seeds == (2, 3, 4, 5)


def test_an_objective_is_measured_or_follows_from_the_settings_and_what_is_missing_is_no_number() -> None:
    search = _search(objectives=(ACCURACY, FLOPS, Objective(metric="train/loss", direction="minimize")))
    accuracy, flops, loss = search.values(RunConfig(), {"validation/exact_accuracy": 0.5, "test/exact_accuracy": 0.9})
    assert (accuracy, flops) == (0.5, RunConfig().train_work())
    assert math.isnan(loss)


def test_a_search_is_the_same_with_more_trials_and_another_with_other_settings() -> None:
    base = RunConfig()
    same = _search().identity(base)
    assert _search(trials=99, title="Other", confirmation=Confirmation(best=1)).identity(base) == same
    assert _search().identity(base.change({"train": {"seed": 3, "log_every": 7}})) == same
    for other in (
        _search(seed=1).identity(base),
        _search(lag=3).identity(base),
        _search(LR, MIXER).identity(base),
        _search(pruning=Pruning(rungs=(0.5,), metric="train/loss")).identity(base),
        _search().identity(base.change({"model": {"D": 64}})),
        _search().identity(base, "another hash"),
    ):
        assert other != same


# --- the files -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SHIPPED)
def test_a_search_that_ships_is_sound_and_its_base_row_is_there_in_every_profile(name: str) -> None:
    search = find_search(name)
    study = Study(name=name, title=search.title, puzzle=search.puzzle, source="a search", rows=(search.row,))
    for profile in EVERY_PROFILE:
        base = configure(study, search.row, profile, seed=0)
        for end in (0, -1):
            params = decide(search.space, base.flat(), lambda dimension, end=end: dimension.range.ends[end])  # type: ignore[misc]
            base.change(search.change_of(params))
    assert Search.model_validate_json(search.model_dump_json()) == search


@pytest.mark.parametrize("name", SHIPPED)
def test_minis_own_values_are_among_those_that_a_search_tries(name: str) -> None:
    search = find_search(name)
    study = Study(name=name, title=search.title, puzzle=search.puzzle, source="a search", rows=(search.row,))
    base = configure(study, search.row, "mini", seed=0).flat()
    for dimension in search.space:
        assert dimension.range.can_be(base[dimension.setting]), dimension


@MUON
def test_the_searches_that_ship_are_all_sound() -> None:
    searches, faults = searches_and_faults()
    assert faults == {}
    assert {"lr_wd", "mini", "optimiser", "recursion"} <= {search.name for search in searches}


def test_no_search_has_the_name_of_a_study() -> None:
    assert not set(SEARCHES.names()) & set(study_names())


def test_a_misspelt_search_is_refused_with_the_nearest_right_name() -> None:
    with pytest.raises(UnknownSearch, match=r"'lr_dw': no such search; did you mean lr_wd\?"):
        find_search("lr_dw")
    with pytest.raises(UnknownSearch, match="searches are lr_wd, mini, optimiser, recursion"):
        find_search("xyzzy")


MINE = """\
from sweeps.search_spec import Dimension, Floats, Objective, Search
from sweeps.study import Row

search = Search(
    name="mine",
    title="Mine",
    puzzle="sudoku",
    row=Row(name="TRM", base="trm"),
    space=(
        Dimension(setting="optim.lr", range=Floats(low=1e-4, high=1e-2, log=True)),
    ),
    objectives=(Objective(metric="validation/exact_accuracy", direction="maximize"),),
    trials=10,
)
"""


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("optim.lr", "optim.lrr", "line 10: setting: optim.lrr: no such setting; did you mean optim.lr?"),
        ("low=1e-4", "low=1", "line 10: low=1.0, high=0.01: expected low below high"),
        ("low=1e-4", "lwo=1e-4", "line 10: Floats needs low; lwo: Floats has no such field; did you mean low?"),
        (
            "validation/",
            "test/",
            "line 12: metric: test/exact_accuracy: a search never sees the test set; did you mean",
        ),
        ('"maximize"', '"max"', "line 12: direction='max': input should be 'maximize' or 'minimize'"),
        ("trials=10", "trials=0", "line 4: trials=0: input should be greater than or equal to 1"),
        ("search = ", "serach = ", "no `search` in it; did you mean serach? Call it search"),
        ('"mine"', '"lr_wd"', "search.name is 'lr_wd', that of a search that ships; choose another"),
        (MINE, "from sweeps.search_spec import Search\nsearch = 3\n", "`search` is of type int, must be a Search"),
    ],
)
def test_a_mistake_in_a_search_is_one_line_with_file_line_and_the_nearest_right_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, said: str
) -> None:
    assert old in MINE
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(MINE)
    assert find_search("mine.py").name == "mine"
    (tmp_path / "mine.py").write_text(MINE.replace(old, new))
    with pytest.raises(BadSearch) as error:
        find_search("mine.py")
    assert said in str(error.value)
    assert str(error.value).startswith("mine.py")
    assert "\n" not in str(error.value)
