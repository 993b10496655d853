"""Row, Study, the look-up by name, and studies in files of one's own."""

import os
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

import sweeps.study
from sweeps.study import (
    BadStudy,
    Row,
    Study,
    UnknownStudy,
    all_studies,
    find_study,
    studies_and_faults,
    study_names,
)


def _study(*names: str) -> Study:
    rows = tuple(Row(name=name, base="trm") for name in names)
    return Study(name="a", title="A", puzzle="sudoku", source="Table 0", rows=rows)


def test_two_rows_of_one_name_are_refused() -> None:
    with pytest.raises(ValidationError, match="study a: two rows are named 'TRM'"):
        _study("TRM", "HRM", "TRM")


def test_a_row_that_changes_a_setting_that_does_not_exist_fails_where_it_is_written() -> None:
    with pytest.raises(ValidationError, match=r"model\.t: no such setting; did you mean model\.T\?"):
        Row(name="TRM", base="trm", change={"model": {"t": 2}})


def test_a_row_with_a_base_that_is_no_recipe_fails_where_it_is_written() -> None:
    with pytest.raises(ValidationError, match="'trm', 'trm_att', 'hrm' or 'direct'"):
        Row(name="TRM", base="trn")


def test_a_study_without_rows_is_refused() -> None:
    with pytest.raises(ValidationError, match="at least 1 item"):
        _study()


def test_a_profile_runs_the_rows_that_name_it_in_the_studys_order() -> None:
    rows = (
        Row(name="both", base="trm"),
        Row(name="large", base="trm", profiles=("official",)),
        Row(name="small", base="trm", profiles=("mini",)),
    )
    study = Study(name="a", title="A", puzzle="sudoku", source="Table 0", rows=rows)
    assert [row.name for row in study.rows_of("mini")] == ["both", "small"]
    assert [row.name for row in study.rows_of("official")] == ["both", "large"]


def test_a_study_is_found_by_the_name_of_its_file() -> None:
    assert find_study("recursion_depth").title == "Recursion depth"
    assert tuple(study.name for study in all_studies()) == study_names()
    assert "recursion_depth" in study_names()


@pytest.mark.parametrize("typo", ["recursoin_depth", "recursion-depth", "Recursion_Depth", "recursion"])
def test_a_misspelt_study_is_refused_with_the_nearest_right_name(typo: str) -> None:
    with pytest.raises(UnknownStudy, match="did you mean recursion_depth"):
        find_study(typo)


@pytest.mark.parametrize("name", ["xyzzy", "", "os", "qqq", "__init__"])
def test_a_name_like_no_study_is_refused_with_the_studies_there_are(name: str) -> None:
    with pytest.raises(UnknownStudy, match=r"studies are .*recursion_depth"):
        find_study(name)


def test_a_name_without_py_is_pointed_to_the_file_that_lies_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnknownStudy, match=r"'mine': no such study; did you mean mine\.py\?"):
        find_study("mine")


def test_a_row_named_for_a_setting_that_does_not_exist_fails_where_it_is_written() -> None:
    with pytest.raises(ValidationError, match=r"model\.t: no such setting; did you mean model\.T\?"):
        Row(name="T=3", base="trm", named_for=("model.t",))


# --- a study of one's own --------------------------------------------------------------------------------------------

MINE = """\
from sweeps.study import Row, Study

study = Study(
    name="mine",
    title="Mine",
    puzzle="sudoku",
    source="nowhere",
    rows=(Row(name="TRM", base="trm"),),
)
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_study_is_found_in_a_file_outside_the_repository_and_nothing_is_left_of_the_search(here: Path) -> None:
    (here / "folder").mkdir()
    for path in ("my_study.py", "folder/my_study.py"):
        (here / path).write_text(MINE)
    before = list(sys.path)
    for name in ("my_study.py", "./my_study.py", "folder/my_study.py", str(here / "my_study.py")):
        assert find_study(name).name == "mine"
    assert sys.path == before
    assert not [name for name in sys.modules if "my_study" in name]
    assert not list(here.rglob("__pycache__"))


def test_a_study_file_is_python_as_it_stands_with_a_byte_order_mark_or_without(here: Path) -> None:
    source = f"def f(x: int): ...\n\nassert f.__annotations__['x'] is int\n{MINE}"
    (here / "my_study.py").write_text(source, encoding="utf-8-sig")
    assert find_study("my_study.py").name == "mine"


def test_a_file_changed_a_moment_ago_is_read_anew(here: Path) -> None:
    for title in ("Mine", "Ours"):
        (here / "my_study.py").write_text(MINE.replace('"Mine"', f'"{title}"'))
        assert find_study("my_study.py").title == title


def test_a_study_may_import_what_lies_beside_it_and_declare_classes(here: Path) -> None:
    (here / "study_helper_of_a_test.py").write_text("T = 2\n")
    (here / "my_study.py").write_text(
        "from __future__ import annotations\nfrom dataclasses import dataclass\n"
        "from study_helper_of_a_test import T\n\n@dataclass\nclass Scale:\n    T: int\n\n"
        + MINE.replace('base="trm"', 'base="trm", change={"model": {"T": Scale(T).T}}')
    )
    assert find_study("my_study.py").rows[0].change == {"model": {"T": 2}}
    sys.modules.pop("study_helper_of_a_test")


def test_a_study_that_ships_may_be_given_by_its_path() -> None:
    assert find_study(str(Path(sweeps.study.__file__).parent / "studies" / "components.py")) == find_study("components")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            'base="trm"',
            'base="trm", change={"model": {"t": 2}}',
            "my_study.py, line 8: change: model.t: no such setting; did you mean model.T?",
        ),
        (
            'base="trm"',
            'base="trm", change={"model": {"T": 0}}',
            "my_study.py, line 8: change: model.T=0: input should be greater than or equal to 1",
        ),
        (
            'base="trm"',
            'base="trn"',
            "my_study.py, line 8: base='trn': input should be 'trm', 'trm_att', 'hrm' or 'direct'",
        ),
        (
            'base="trm"',
            'bse="trm"',
            "my_study.py, line 8: Row needs base; bse: Row has no such field; did you mean base?",
        ),
        ('title="Mine",', "", "my_study.py, line 3: Study needs title"),
        (
            'base="trm"),',
            'base="trm"), Row(name="TRM", base="hrm"),',
            "my_study.py, line 3: study mine: two rows are named 'TRM'; row names must differ",
        ),
        (
            'rows=(Row(name="TRM", base="trm"),),',
            "rows=(),",
            "my_study.py, line 3: rows=(): tuple should have at least 1 item after validation, not 0",
        ),
        ('"sudoku"', '"soduko"', "my_study.py, line 3: puzzle='soduko': input should be 'sudoku', 'maze' or 'arc'"),
        ("import Row", "import Rwo", "my_study.py, line 1: ImportError: cannot import name 'Rwo' from 'sweeps.study'"),
        ("Row(name", "Rwo(name", "my_study.py, line 8: NameError: name 'Rwo' is not defined"),
        ('name="TRM"', '"TRM"', "my_study.py, line 8: TypeError: BaseModel.__init__() takes 1 positional"),
        ('Row(name="TRM", base', "Row(name==, base", "my_study.py, line 8: invalid syntax"),
        ("study = ", "import sys; sys.exit(3)\nstudy = ", "my_study.py, line 3: SystemExit: 3"),
        ("study = ", "import nonsense_xyz\nstudy = ", "my_study.py, line 3: ModuleNotFoundError: No module named"),
        ("study = ", "'\\0'\nstudy = = ", "my_study.py, line 4: invalid syntax"),
        ("study = ", "raise ValueError('a\\nb')\nstudy = ", "my_study.py, line 3: ValueError: a b"),
        ("study = ", "studdy = ", "my_study.py: no `study` in it; did you mean studdy? Call it study"),
        (MINE, "", "my_study.py: no `study` in it; declare one: study = Study(name=…)"),
        (MINE, "study = 3\n", "my_study.py: `study` is of type int, must be a Study"),
        ('"mine"', '"components"', "my_study.py: study.name is 'components', that of a study that ships"),
        ('"mine"', '"Mine!"', "my_study.py: study.name is 'Mine!'; expected a-z, 0-9 and _ alone"),
        ('"mine"', '"mine\\n"', "my_study.py: study.name is 'mine\\n'; expected"),
    ],
)
def test_a_mistake_in_a_study_is_one_line_with_file_line_and_the_nearest_right_name(
    here: Path, old: str, new: str, said: str
) -> None:
    assert old in MINE
    (here / "my_study.py").write_text(MINE.replace(old, new))
    with pytest.raises(BadStudy) as error:
        find_study("my_study.py")
    assert str(error.value).startswith(said)
    assert "\n" not in str(error.value)


def test_the_line_of_a_mistake_in_a_function_is_the_one_inside_it_and_of_one_in_another_file_the_import(
    here: Path,
) -> None:
    row = 'def row(name):\n    return Row(name=name, base="trm", change={"model": {"t": 1}})\n\nstudy ='
    (here / "my_study.py").write_text(
        MINE.replace("study =", row).replace('Row(name="TRM", base="trm"),)', 'row("a"),)')
    )
    with pytest.raises(BadStudy, match=r"^my_study\.py, line 4: change: model\.t: no such setting"):
        find_study("my_study.py")
    (here / "study_helper_of_a_test.py").write_text("T = = 2\n")
    (here / "my_study.py").write_text("\nimport study_helper_of_a_test\n")
    with pytest.raises(BadStudy, match=r"^my_study\.py, line 2: .*study_helper_of_a_test\.py, line 1: invalid syntax"):
        find_study("my_study.py")


def test_what_is_no_file_that_can_be_read_is_refused_in_one_line(here: Path) -> None:
    (here / "my_study.py").write_text(MINE)
    (here / "folder.py").mkdir()
    (here / "latin.py").write_bytes(b"# \xe9\n" + MINE.encode())
    (here / "zeros.py").write_bytes(bytes(9))
    (here / "study.txt").write_text("raise SystemExit('it was executed')")
    os.mkfifo(here / "pipe.py")
    (here / "loop.py").symlink_to(here / "loop.py")
    for name, said in {
        "my_studdy.py": "my_studdy.py: no such file; did you mean my_study.py?",
        "../study": "../study: no such file; give the path of a Python file",
        "nowhere/my_study.py": "nowhere/my_study.py: no such file",
        "folder.py": "folder.py: a folder or a device",
        "./": ".: a folder or a device",
        "./study.txt": "study.txt: its name does not end in .py; give a Python file that declares a study",
        "pipe.py": "pipe.py: a folder or a device",
        "latin.py": "latin.py: byte 2 is no UTF-8; save it as UTF-8",
        "zeros.py": "zeros.py: ",
        "loop.py": "loop.py: ",
        "x" * 300 + ".py": "x" * 300 + ".py: cannot be read (File name too long)",
        "my_study.py/a.py": "my_study.py/a.py: no such file",
    }.items():
        with pytest.raises(BadStudy) as error:
            find_study(name)
        assert str(error.value).startswith(said)
        assert "\n" not in str(error.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_refused(here: Path) -> None:
    (here / "my_study.py").write_text(MINE)
    (here / "my_study.py").chmod(0)
    with pytest.raises(BadStudy, match=r"my_study\.py: cannot be read \(Permission denied\)"):
        find_study("my_study.py")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (MINE.replace("mine", "broken").replace('"trm"', '"trn"'), ", line 8: base='trn': input should be"),
        ("study = = 3\n", ", line 1: invalid syntax"),
        ("", ": no `study` in it"),
        (MINE, ": study.name is 'mine', must be 'broken_for_a_test', as its file"),
    ],
)
def test_a_broken_file_among_the_studies_breaks_only_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: str
) -> None:
    import sweeps.studies

    name = "broken_for_a_test"
    (tmp_path / f"{name}.py").write_text(text)
    names = study_names()
    monkeypatch.setattr(sweeps.studies, "__path__", [*sweeps.studies.__path__, str(tmp_path)])
    studies, faults = studies_and_faults()
    sys.modules.pop(f"sweeps.studies.{name}", None)
    assert tuple(study.name for study in studies) == names
    assert list(faults) == [name]
    assert faults[name].startswith(f"sweeps/studies/{name}.py{said}")
    with pytest.raises(BadStudy, match=name):
        find_study(name)
    sys.modules.pop(f"sweeps.studies.{name}", None)
    assert find_study("components").name == "components"


def test_the_studies_that_ship_are_all_sound() -> None:
    assert studies_and_faults() == (all_studies(), {})
