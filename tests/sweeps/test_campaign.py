from __future__ import annotations

import json
from pathlib import Path

import pytest

from sweeps.campaign import FILE, VERSION, BadCampaign, BadSeeds, Campaign, declare, id_in, read, read_file, read_seeds
from sweeps.study import Claim, Row, Study, find_study
from tests.conftest import a_study, campaign
from trm_core.settings import BadSetting


def test_a_campaigns_id_follows_from_its_settings_and_not_from_its_seeds_or_words() -> None:
    same = [campaign(seeds=(5,)), campaign(data_seeds=(1, 2)), campaign(command="x"), campaign(changes=["model.D=16"])]
    assert {one.id for one in same} == {campaign().id}
    other = [campaign(changes=["model.D=32"]), campaign(a_study("A")), campaign(a_study(name="b"))]
    assert len({campaign().id, *(one.id for one in other)}) == 4


def test_a_change_that_changes_nothing_is_in_no_label() -> None:
    assert campaign(changes=["model.D=16"]).label == ""
    found = campaign(changes=["model.D=16", "optim.lr=0.007", "optim.lr=0.007"])
    assert (found.label, found.changes) == ("lr=0.007", ("optim.lr=0.007",))


def test_the_first_seed_of_every_row_comes_before_the_second_of_any() -> None:
    of = campaign(a_study("A", "B"), seeds=(0, 1), data_seeds=(0, 3))
    assert [job.name for job in of.jobs()] == [
        f"{row} seed {seed}" + (f", data seed {data}" if data else "")
        for data in (0, 3)
        for seed in (0, 1)
        for row in "AB"
    ]
    assert len(of.keys) == 8


def test_a_runs_key_is_that_of_its_settings_and_its_puzzles() -> None:
    (job,) = campaign(seeds=(3,), data="some puzzles").jobs()
    assert job.key == job.run.key("some puzzles")
    assert (job.run.train.seed, job.run.data.seed) == (3, 0)


def test_changes_that_make_two_rows_the_same_run_are_refused_with_both_names() -> None:
    with pytest.raises(BadSetting, match="'A' and 'B' become the same run"):
        campaign(a_study("A", "B"), changes=["model.D=32"])


def test_a_change_that_can_be_for_no_row_is_refused_and_one_that_cannot_be_for_some_is_said_there() -> None:
    with pytest.raises(BadSetting):
        declare(a_study(), "mini", ["model.D=-1"])
    study = a_study("A", "B")
    study = study.model_copy(update={"rows": tuple(row.model_copy(update={"base": "trm_att"}) for row in study.rows)})
    of = declare(study, "mini", ["model.n_heads=8"])  # D of B is 20
    assert of.settings("A") is not None
    assert of.settings("B") is None
    assert of.rows[1].why_not
    with pytest.raises(BadSetting, match="B"):
        of.run("B", 0)


def test_seeds_are_added_to_a_campaign_and_other_puzzles_take_the_place_of_the_old() -> None:
    first, more = campaign(seeds=(0,)), campaign(seeds=(1,), command="more")
    both = first.extended(more)
    assert (both.seeds, both.command) == ((0, 1), "more")
    assert more.extended(first).runs == both.runs
    assert first.extended(first) == first
    others = campaign(seeds=(1,), data="other puzzles")
    assert first.extended(others).runs == others.runs


def test_a_recorded_run_belongs_by_its_key_whatever_its_seed_and_its_puzzles() -> None:
    of = campaign()
    job = campaign(seeds=(9,), data_seeds=(2,), data="other").jobs()[0]
    assert of.has(row=job.row, seed=9, data_seed=2, data="other", key=job.key)
    assert not of.has(row=job.row, seed=8, data_seed=2, data="other", key=job.key)
    assert not of.has(row="no such row", seed=9, data_seed=2, data="other", key=job.key)


@pytest.mark.parametrize("name", ["recursion_depth", "puzzles", "components", "latent_features"])
def test_a_document_is_read_as_it_was_written(name: str, tmp_path: Path) -> None:
    study = find_study(name)
    of = declare(study, "official", ["optim.lr=0.003"])
    of = of.asked(study.rows_of("official"), (0, 1), (0,), lambda data: data.puzzle, "python sweeps/run.py --study …")
    assert read(of.text(), "here") == of
    (tmp_path / FILE).write_text(of.text(), encoding="utf-8")
    assert read_file(tmp_path / FILE) == of
    assert id_in(tmp_path) == of.id


@pytest.mark.parametrize("text", ["", "{", "null", "7", '{"id": 7}', "[" * 100_000, '"x"'])
def test_a_torn_document_in_a_folder_is_nobodys(text: str, tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(text)
    assert id_in(tmp_path) is None
    with pytest.raises(BadCampaign, match=FILE):
        read_file(tmp_path / FILE)


def test_a_document_with_a_setting_that_this_program_does_not_know_is_refused_by_its_name() -> None:
    text = campaign().text().replace('"n_heads"', '"n_hands"')
    with pytest.raises(BadCampaign, match="n_hands"):
        read(text, "here")


def test_no_report_takes_anothers_place(tmp_path: Path) -> None:
    plain, changed, edited = campaign(), campaign(changes=["model.D=32"]), campaign(a_study("TRM"))
    assert plain.folder(tmp_path) == tmp_path / "mini" / "a_study"
    assert changed.folder(tmp_path) == tmp_path / "mini" / "a_study" / "D=32"
    write(plain, tmp_path)
    assert plain.folder(tmp_path) == tmp_path / "mini" / "a_study"
    assert edited.folder(tmp_path) == tmp_path / "mini" / "a_study" / f"campaign-{edited.id[:8]}"


def write(of: Campaign, out: Path) -> None:
    folder = of.folder(out)
    folder.mkdir(parents=True)
    (folder / FILE).write_text(of.text(), encoding="utf-8")


# --- seeds -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seeds"),
    [("1", (0,)), ("3", (0, 1, 2)), ("0-4", (0, 1, 2, 3, 4)), ("2,5", (2, 5)), ("0-2,7", (0, 1, 2, 7)), ("4-4", (4,))],
)
def test_seeds_are_a_number_a_range_or_a_list(text: str, seeds: tuple[int, ...]) -> None:
    assert read_seeds(text) == seeds


@pytest.mark.parametrize(
    "text", ["0", "-1", "", "x", "1.5", "²", "3-1", "1,1", "0-3,2", "1,", "0-99999999", "9" * 400, "1e3", "0x2"]
)
def test_seeds_that_are_none_are_refused_with_what_is_expected(text: str) -> None:
    with pytest.raises(BadSeeds, match="--data-seeds"):
        read_seeds(text, "--data-seeds")


def test_a_document_of_the_version_before_claims_reads_as_one_without_any() -> None:
    study = a_study("A", "B")
    claimed = study.model_copy(
        update={"claims": (Claim(says="B is better", rising=(("A", "B"),)),), "baseline": ("A",)}
    )
    document = json.loads(campaign(claimed).text())
    assert document["version"] == VERSION == 3
    assert read(json.dumps(document), "here").study.claims[0].says == "B is better"
    for name in ("claims", "baseline"):
        del document["study"][name]
    old = read(json.dumps(document | {"version": 1}), "here")
    assert (old.study.claims, old.study.baseline, old.version) == ((), (), VERSION)
    assert old.id == campaign(study).id == campaign(claimed).id, "what the paper says makes no other runs"


def test_a_claim_of_a_row_that_there_is_not_is_refused_with_the_nearest() -> None:
    with pytest.raises(ValueError, match="no row is named 'no EMa'; did you mean no EMA?"):
        Study(
            name="s", title="S", puzzle="sudoku", source="x",
            rows=(Row(name="no EMA", base="trm"), Row(name="TRM", base="trm")),
            claims=(Claim(says="an EMA helps", rising=(("no EMa", "TRM"),)),),
        )  # fmt: skip
