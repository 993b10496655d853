"""What --set and --grid say: scopes, combinations, labels; and which changes contradict a row's name."""

import re
from itertools import combinations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeps.changes import BadGrid, for_row, label, normal, read_changes, read_grid, short_name
from sweeps.names import UntrueName, check_names, named_for
from sweeps.profiles import configure
from sweeps.study import EVERY_BASE, EVERY_PUZZLE, Row, Study, all_studies, find_study
from trm_core.settings import NOT_IN_THE_KEY, BadSetting
from trm_core.settings_as_text import Setting, describe, setting_text, setting_value

STUDY = Study(
    name="a",
    title="A",
    puzzle="sudoku",
    source="Table 0",
    rows=(
        Row(name="TRM", base="trm"),
        Row(name="HRM", base="hrm"),
        Row(name="TRM, mazes", base="trm", puzzle="maze"),
        Row(name="HRM, mazes", base="hrm", puzzle="maze"),
    ),
)


# --- scopes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scope", "rows"),
    [
        ("", {"TRM", "HRM", "TRM, mazes", "HRM, mazes"}),
        ("maze:", {"TRM, mazes", "HRM, mazes"}),
        ("hrm:", {"HRM", "HRM, mazes"}),
        ("hrm:maze:", {"HRM, mazes"}),
        ("maze:hrm:", {"HRM, mazes"}),
    ],
)
def test_a_change_may_be_for_the_rows_on_one_puzzle_or_of_one_recipe_or_both(scope: str, rows: set[str]) -> None:
    found = {
        row.name for row in STUDY.rows if configure(STUDY, row, "mini", 0, [f"{scope}optim.lr=0.25"]).optim.lr == 0.25
    }
    assert found == rows


def test_a_setting_that_is_set_twice_for_the_same_rows_is_refused() -> None:
    once = ["model.D=96", "hrm:optim.lr=1e-3", "maze:optim.lr=1e-3", "optim.lr=1e-4"]
    assert read_changes([once]) == once
    assert read_changes([once, ["model.D=128"]]) == [*once, "model.D=128"], "a second --set wins over the first"
    for again, name in (("model.D=128", "model.D"), ("hrm:optim.lr=1e-3", "hrm:optim.lr")):
        with pytest.raises(BadSetting, match=f"--set {again}: {name} is there already"):
            read_changes([[*once, again]])


def test_the_later_change_wins_also_where_it_is_for_fewer_rows() -> None:
    changes = ["optim.lr=0.5", "hrm:optim.lr=0.25"]
    assert [for_row(STUDY, row, changes)[-1] for row in STUDY.rows[:2]] == ["optim.lr=0.5", "optim.lr=0.25"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("mase:model.D=96", "'mase' is no puzzle and no recipe; did you mean maze?"),
        ("hmr:model.D=96", "did you mean hrm?"),
        ("xyzzy:model.D=96", "puzzles and recipes are sudoku, maze, arc, trm, trm_att, hrm, direct"),
        ("trm_att:model.D=96", "a has no rows of trm_att; leave it out"),
        ("arc:model.D=96", "a has no rows on arc; leave it out"),
        ("arc:hrm:model.D=96", "a has no rows of hrm on arc; leave it out"),
        ("maze:sudoku:model.D=96", "not of maze and sudoku"),
        ("hrm:hrm:model.D=96", "not of hrm and hrm"),
        ("maze:model.D", "expected NAME=VALUE"),
        ("maze:model.d=96", "model.d: no such setting; did you mean model.D?"),
        (":model.D=96", "'' is no puzzle and no recipe"),
    ],
)
def test_a_scope_that_is_none_or_that_no_row_has_is_refused_by_name(change: str, said: str) -> None:
    with pytest.raises(BadSetting, match=re.escape(said)):
        configure(STUDY, STUDY.rows[2], "mini", 0, [change])


def test_a_value_may_hold_a_colon() -> None:
    assert for_row(STUDY, STUDY.rows[0], ["data.subsets=hrm:b"]) == ["data.subsets=hrm:b"]


# --- grids -----------------------------------------------------------------------------------------------------------


def test_a_grid_is_all_combinations_in_order() -> None:
    assert read_grid(["optim.lr=1e-3,3e-3", "hrm:optim.weight_decay=0.1, 1"]) == (
        ("optim.lr=0.001", "hrm:optim.weight_decay=0.1"),
        ("optim.lr=0.001", "hrm:optim.weight_decay=1.0"),
        ("optim.lr=0.003", "hrm:optim.weight_decay=0.1"),
        ("optim.lr=0.003", "hrm:optim.weight_decay=1.0"),
    )
    assert read_grid([]) == ((),)
    assert read_grid(["model.D=96"]) == (("model.D=96",),)


@pytest.mark.parametrize(
    ("axis", "values"),
    [
        ("model.features=y,z,single z", ["y,z", "single z"]),
        ("model.features=y,y,z", ["y", "y,z"]),
        ("model.features=single z, multi-scale z,y,y,z", ["single z", "multi-scale z", "y", "y,z"]),
        ("model.halting=none,bce", ["none", "bce"]),
        ("optim.ema=none,0.9", ["none", "0.9"]),
        ("data.allow_leak=true,False", ["true", "false"]),
        ('data.subsets=["a,b","c"]', ["a,b", "c"]),
        ("model.T=3.0,2", ["3", "2"]),
    ],
)
def test_values_are_split_at_commas_by_their_settings_type(axis: str, values: list[str]) -> None:
    assert [one.partition("=")[2] for (one,) in read_grid([axis])] == values


COMPARED = [one for one in describe() if one.choices and one.name.partition(".")[2] not in NOT_IN_THE_KEY]


@pytest.mark.parametrize("setting", COMPARED, ids=lambda setting: setting.name)
@given(data=st.data())
def test_every_list_of_choices_is_split_into_itself(setting: Setting, data: st.DataObject) -> None:
    values = data.draw(st.lists(st.sampled_from(setting.choices), unique=True, min_size=1))
    assert [one.partition("=")[2] for (one,) in read_grid([f"{setting.name}={','.join(values)}"])] == values


@pytest.mark.parametrize(
    ("grid", "said"),
    [
        (["optim.lr=1e-3,0.001"], "--grid optim.lr=1e-3,0.001: 0.001 is there twice"),
        (["model.features=y,z,y,z"], "y,z is there twice"),
        (["optim.lr=1e-3,,3e-3"], "an empty value"),
        (["optim.lr="], "an empty value"),
        (['data.subsets=["a",""]'], "an empty value"),
        (["data.subsets=a,b"], "write them as a JSON list, in quotes for the shell: 'data.subsets=[\""),
        (["data.subsets=[]"], "write them as a JSON list"),
        (["data.subsets=[1]"], "write them as a JSON list"),
        (["optim.lr=1e-3", "optim.lr=3e-3"], "optim.lr is in the grid already"),
        (["hrm:maze:optim.lr=1e-3", "hrm:optim.lr=3e-3"], "optim.lr is in the grid already"),
        (["train.seed=0,1"], "use --seeds"),
        (["data.seed=0,1"], "use --data-seeds"),
        (["train.log_every=1,2"], "moves no number"),
        ([f"model.D={','.join(map(str, range(2, 400)))}", f"model.T={','.join(map(str, range(1, 400)))}"], "158,802"),
    ],
)
def test_a_grid_without_sense_is_refused_by_name(grid: list[str], said: str) -> None:
    with pytest.raises(BadGrid, match=re.escape(said)):
        read_grid(grid)


@pytest.mark.parametrize(
    ("axis", "said"),
    [
        ("optim.rl=1", "optim.rl: no such setting; did you mean optim.lr?"),
        ("optim.lr=1e-3,fast", "optim.lr='fast': input should be a valid number"),
        ("optim.lr=-1", "optim.lr=-1: input should be greater than 0"),
        ("model.mixer=mlp,mpl", "model.mixer='mpl': input should be 'mlp' or 'attention'"),
        ("model.features=y,z,single y", "model.features='single y'"),
        ("mase:optim.lr=1", "--grid mase:optim.lr=1: 'mase' is no puzzle"),
        ("optim.lr", "--grid optim.lr: expected NAME=VALUE"),
    ],
)
def test_a_value_that_cannot_be_is_refused_in_a_grid_as_it_is_anywhere(axis: str, said: str) -> None:
    with pytest.raises(BadSetting, match=re.escape(said)):
        read_grid([axis])


# --- labels ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ([], ""),
        (["optim.lr=3e-3"], "lr=0.003"),
        (["hrm:optim.lr=1e-3", "optim.weight_decay=0.1"], "hrm.lr=0.001,weight_decay=0.1"),
        (["optim.weight_decay=0.1", "hrm:optim.lr=1e-3"], "hrm.lr=0.001,weight_decay=0.1"),
        (["hrm:maze:model.D=96"], "maze.hrm.D=96"),
        (["optim.weight_decay=1"], "weight_decay=1"),
        (["data.seed=1"], "data.seed=1"),
        (["model.features=y,z"], "features=y+z"),
        (["model.features=multi-scale z"], "features=multi-scale-z"),
        (["optim.ema=none"], "ema=none"),
        (["data.subsets=training2,evaluation2"], "subsets=training2+evaluation2"),
        (["optim.lr=1", "optim.lr=2"], "lr=2"),
    ],
)
def test_a_label_says_what_was_changed(changes: list[str], name: str) -> None:
    assert label(changes) == name


def test_a_text_that_does_not_fit_in_a_label_is_told_apart_by_its_hash() -> None:
    labels = {label([f"data.subsets={text}"]) for text in ("a b", "a-b", "a+b", "A-b", "a,b", "a/b")}
    assert len(labels) == 6
    assert "subsets=a+b" in labels


@st.composite
def _changes(draw: st.DrawFn) -> list[str]:
    """Up to eight changes, of few values each, so that two lists of them are often nearly the same."""
    changes = []
    for _ in range(draw(st.integers(0, 8))):
        setting = draw(st.sampled_from(describe()))
        texts = {setting.default, *setting.choices, *(["none"] if setting.takes_none else [])}
        if not setting.choices:
            texts |= {"2", "3", "0.5", "1e-3", "a b", "a-b", "a,b", "none", "true"}
        able = []
        for text in sorted(texts):
            try:
                setting_value(setting.name, text)
                able.append(text)
            except BadSetting:
                pass
        scopes = draw(st.sampled_from(["", *(f"{scope}:" for scope in (*EVERY_PUZZLE, *EVERY_BASE)), "hrm:maze:"]))
        changes.append(f"{scopes}{setting.name}={draw(st.sampled_from(able))}")
    return changes


@given(one=_changes(), other=_changes())
def test_a_label_is_short_of_plain_characters_and_another_for_other_changes(one: list[str], other: list[str]) -> None:
    for changes in (one, other):
        assert re.fullmatch(r"[A-Za-z0-9._,=+-]{0,80}", label(changes))
        assert label(normal(changes)) == label(changes)
        assert normal(normal(changes)) == normal(changes)
    assert (label(one) == label(other)) == (normal(one) == normal(other))


@given(changes=_changes())
def test_changes_said_shortest_configure_the_same_runs(changes: list[str]) -> None:
    for row in STUDY.rows:
        shortest = [change for change in normal(changes) if not change.startswith(("arc:", "trm_att:", "direct:"))]
        as_said = [change for change in changes if not change.startswith(("arc:", "trm_att:", "direct:"))]
        found = [
            {
                name: setting_value(name, text)
                for name, _, text in (one.partition("=") for one in for_row(STUDY, row, all_))
            }
            for all_ in (shortest, as_said)
        ]
        assert found[0] == found[1]


def test_no_two_settings_and_no_two_choices_of_one_share_a_label() -> None:
    names = [short_name(setting.name) for setting in describe()]
    assert len(set(names)) == len(names)
    for setting in describe():
        for one, other in combinations(setting.choices, 2):
            assert label([f"{setting.name}={one}"]) != label([f"{setting.name}={other}"])


# --- what a row is named for -----------------------------------------------------------------------------------------

COMPONENTS = find_study("components")
STATED = {r"T=(\d+)": "model.T", r"\bn=(\d+)": "model.n", r"(\d+) layers": "model.n_layers"}


def _row(study: Study, name: str) -> Row:
    return next(row for row in study.rows if row.name == name)


@pytest.mark.parametrize(
    ("row", "change", "said"),
    [
        ("TRM (T=3, n=6)", "model.T=2", "model.T=2: 'TRM (T=3, n=6)' is named for model.T=3"),
        ("TRM (T=3, n=6)", "trm:model.n=4", "model.n=4: 'TRM (T=3, n=6)' is named for model.n=6"),
        ("no EMA", "optim.ema=0.9", "optim.ema=0.9: 'no EMA' is named for optim.ema=none"),
        ("w/ ACT", "model.halting=bce", "is named for model.halting=q_learning"),
        ("HRM", "model.n_layers=2", "'HRM' is named for model.n_layers=4"),
        ("w/ self-attention", "model.mixer=mlp", "is named for model.mixer=attention"),
    ],
)
def test_a_change_that_makes_a_rows_name_untrue_is_refused_by_name(row: str, change: str, said: str) -> None:
    with pytest.raises(UntrueName, match=re.escape(said)) as error:
        check_names(COMPONENTS, [_row(COMPONENTS, row)], "mini", [change])
    assert "--set-anyway" in str(error.value)


@pytest.mark.parametrize(
    ("row", "change"),
    [
        ("TRM (T=3, n=6)", "model.T=3"),  # it has that value already
        ("TRM (T=3, n=6)", "model.T=3.0"),
        ("TRM (T=3, n=6)", "hrm:model.T=4"),  # for another row
        ("w/ ACT", "model.T=2"),  # named for its halting
        ("no EMA", "optim.lr=0.5"),
        ("HRM", "model.puzzle_prefix=3"),
        ("w/ 4 layers, n=3", "optim.weight_decay=0.1"),
    ],
)
def test_a_change_that_leaves_a_rows_name_true_is_none(row: str, change: str) -> None:
    check_names(COMPONENTS, [_row(COMPONENTS, row)], "mini", [change])


def test_of_several_rows_one_is_named_and_the_others_are_counted() -> None:
    with pytest.raises(UntrueName, match=r"'TRM \(T=3, n=6\)' is named for model\.T=3, and 1 more row"):
        check_names(COMPONENTS, COMPONENTS.rows[1:], "mini", ["model.T=7"])


def test_how_long_a_row_trains_is_no_name() -> None:
    study = find_study("recursion_depth")
    assert not any(setting.startswith("train.") for row in study.rows for setting in named_for(row))
    check_names(study, study.rows, "official", ["train.steps=7", "train.activation_checkpointing=false"])


@pytest.mark.parametrize(
    ("study", "row"),
    [pytest.param(study, row, id=f"{study.name}, {row.name}") for study in all_studies() for row in study.rows],
)
def test_what_a_rows_name_states_is_so_in_every_profile_and_protected(study: Study, row: Row) -> None:
    named = named_for(row)
    for (pattern, setting), profile in product(STATED.items(), row.profiles):
        for stated in re.findall(pattern, row.name):
            assert setting in named, f"declare it: Row(…, named_for=({setting!r},))"
            assert setting_text(configure(study, row, profile, 0).flat()[setting]) == stated
    if "k=" in row.name:
        assert {"model.n", "model.gradient_k"} & set(named)
    if match := re.search(r"\((\d) features?\)", row.name):
        assert "model.features" in named
        assert match[1] != "7" or "model.n" in named
    if "EMA" in row.name:
        assert "optim.ema" in named
    assert {"model.mixer"} <= set(named)
