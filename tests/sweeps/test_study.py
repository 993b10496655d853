"""Row, Study and the look-up by name."""

import pytest
from pydantic import ValidationError

from sweeps.study import Row, Study, UnknownStudy, all_studies, find_study, study_names


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


@pytest.mark.parametrize("name", ["xyzzy", "", "os", "../study", "__init__"])
def test_a_name_like_no_study_is_refused_with_the_studies_there_are(name: str) -> None:
    with pytest.raises(UnknownStudy, match=r"studies are .*recursion_depth"):
        find_study(name)
