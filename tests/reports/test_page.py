"""The page holds all it needs, and shows every text as text."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from reports.again import again
from reports.curves import with_losses, with_votes
from reports.links import links
from reports.page import compact, page, whole
from reports.solved import Solved
from reports.types import Table
from sweeps.study import Quoted, Study
from tests.reports.records import record, table_of

EVIL = "<script>alert(1)</script> \"q\" 'r' &amp;"
VOID = {"meta", "br", "hr", "img", "input", "link"}


class Balance(HTMLParser):
    """Every tag that is opened is closed, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.ids: list[str] = []
        self.links: dict[str, str] = {}  # text → address, the last of that text
        self.drawn: list[str] = []  # addresses of pictures
        self.commands: list[str] = []
        self.link: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        of = {name: value or "" for name, value in attrs}
        self.ids += [of["id"]] if "id" in of else []
        self.drawn += [of["src"]] if "src" in of else []
        self.link = of.get("href") if tag == "a" else self.link

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag
        self.link = None if tag == "a" else self.link

    def handle_data(self, data: str) -> None:
        if self.link is not None:
            self.links[data] = self.link
        if self.open[-2:] == ["p", "code"]:
            self.commands.append(data)


def read(text: str) -> Balance:
    """The page, whose every tag is closed."""
    parser = Balance()
    parser.feed(text)
    assert parser.open == []
    assert parser.seen.count("script") == 1, "ours"
    assert len(set(parser.ids)) == len(parser.ids)
    return parser


@pytest.fixture
def text(study: Study) -> str:
    rows = (study.rows[0].model_copy(update={"name": EVIL}), *study.rows[1:])
    evil = study.model_copy(update={"rows": rows, "title": EVIL, "note": EVIL})
    records = [
        record(evil, EVIL, 0.9, seed=0, tags={"device": EVIL}),
        record(evil, "HRM k=1", None, status="FAILED", tags={"failure": EVIL}),
    ]
    return page(table_of(evil, "mini", records), [(EVIL, "<svg><text>drawn</text></svg>")])


def test_no_name_reason_or_tag_becomes_markup(text: str) -> None:
    read(text)
    assert "&lt;script&gt;alert(1)" in text
    assert "<svg><text>drawn</text></svg>" in text, "the figures are ours and are markup"


def test_the_page_asks_nothing_of_anyone(text: str) -> None:
    assert not re.search(r"https?:|//\w|@import|\bsrc=|<link|url\((?!#)|\bfetch\b|XMLHttp|\bimport\b", text)


def test_the_page_has_a_dark_scheme_a_print_sheet_and_fits_a_phone(text: str) -> None:
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text
    assert 'name="viewport"' in text


def test_the_page_lists_the_runs_and_the_settings(text: str) -> None:
    assert re.search(r"run-[0-9a-f]{16}", text)
    assert '<td data-value="72.0">1:12</td>' in text
    assert "<code>train.steps</code>" in text
    assert "<code>model.n</code>" in text
    assert "torch 2.13.0" in text
    assert "0123456789ab" in text


@pytest.mark.parametrize("in_columns", [True, False])
def test_neither_what_is_quoted_nor_a_leak_becomes_markup(arc_study: Study, in_columns: bool) -> None:
    quoted = Quoted(name=EVIL, cells={"ARC-AGI-1" if in_columns else EVIL: 12.3})
    evil = arc_study.model_copy(update={"quoted": (quoted,)})
    run = record(evil, "TRM-Att, ARC-AGI-1", 0.4, profile="official", tags={"leaks": EVIL})
    table = with_votes(table_of(evil, "official", [run]), {run.run_id: [(1, 0.1, 0.2)]})
    text = page(table, [])
    read(text)
    assert text.count("<table") == (6 if in_columns else 7), (
        "what is quoted stands in the grid, or in a table of its own"
    )
    assert ">12.3<" in text
    assert '<p class="warning" role="note">Leak: 1 test task' in text


def test_the_page_of_losses_shows_ours_in_full_and_the_sources_softly(losses_study: Study) -> None:
    runs = [record(losses_study, "No EMA", 0.0, seed=seed, profile="official") for seed in (0, 1)]
    curves = {(run.run_id, "train/lm_loss"): [(1, 2.0), (2, 1.0 + run.seed / 2)] for run in runs}
    text = page(with_losses(table_of(losses_study, "official", runs), curves), [])
    read(text)
    assert '<td class="ours marked"><a href="#runs-2">1.250 ±&nbsp;3.177</a>' in text
    assert '</a>&#8288;<span class="mark">&nbsp;?</span></td>' in text
    assert '<td class="paper">1.042</td>' in text
    assert text.count("Improvement %") == 2


# --- from a number to its runs, and from a run to where it is kept ----------------------------------------------------


KEPT = links("http://me:secret-word@tracker.example:5000/ml/", "3", "git@github.com:someone/trm.git", 2)


@pytest.fixture
def table(study: Study) -> Table:
    records = [record(study, "TRM k=1", 0.126, seed=seed, cells=0.98) for seed in (0, 1)]
    return table_of(study, "mini", [*records, record(study, "HRM k=1", None, status="FAILED")])


def test_every_number_of_ours_leads_to_its_runs_and_the_papers_to_none(table: Table) -> None:
    found = read(page(table, []))
    numbers = {text.replace("\xa0", " "): address for text, address in found.links.items()}
    assert numbers["12.6 ± 0.0"] == numbers["98.0"] == "#runs-1"
    assert numbers["failed"] == "#runs-2"
    assert "63.2" not in numbers
    assert "not in this profile" not in numbers, "there are no runs"
    assert {address.removeprefix("#") for address in numbers.values()} == set(found.ids)


def test_every_run_leads_to_mlflow_its_folder_and_its_commit(table: Table) -> None:
    run = table.rows[0].runs[0]
    found = read(page(table, [], KEPT))
    assert found.links[run.run_id[:8]].startswith("http://tracker.example:5000/ml/#/experiments/3/runs/run-")
    assert found.links[f"runs/{run.key}"] == f"../../runs/{run.key}/"
    assert found.links["0123456789ab"] == "https://github.com/someone/trm/commit/0123456789abcdef"
    assert "secret-word" not in page(table, [], KEPT)


def test_beside_a_file_of_runs_stands_the_command_that_opens_it_and_no_path_of_this_machine(table: Table) -> None:
    text = page(table, [], links("sqlite:////home/somebody/mlflow.db", "1", "/srv/git/trm.git", 2))
    assert "mlflow ui --backend-store-uri sqlite:///mlflow.db" in read(text).commands
    assert "http://127.0.0.1:5000/#/experiments/1/runs/" in text
    assert "somebody" not in text
    assert "/srv" not in text
    assert "0123456789ab" not in read(text).links


def test_the_page_and_every_row_with_runs_have_their_command(table: Table) -> None:
    campaign = table.campaign
    assert read(page(table, [])).commands == [again(campaign), *(again(campaign, row.name) for row in table.rows[:2])]


def test_a_number_is_broken_before_its_interval_alone(table: Table) -> None:
    text = page(table, [])
    assert "12.6 ±&nbsp;0.0" in text
    assert "± " not in text.partition("<script>")[0]
    assert whole("90.0 ± 0.0 (3) <b>") == "90.0 ±&nbsp;0.0&nbsp;(3) &lt;b&gt;"


def test_the_strip_is_drawn_and_its_words_are_text(table: Table) -> None:
    strip = Solved("TRM k=1", "seed 0", "data:image/png;base64,AAAA", EVIL, is_solved=True)
    found = read(page(table, [], KEPT, strip))
    assert found.drawn == ["data:image/png;base64,AAAA"]
    assert "script" not in [tag for tag in found.seen if tag != "script"]


def test_four_hundred_runs_leave_most_of_two_megabytes_to_the_figures(study: Study) -> None:
    name = study.rows[0].name
    few = table_of(study, "mini", [record(study, name, 0.5 + seed / 100, seed=seed) for seed in range(10)])
    row = few.rows[0]
    rows = (
        replace(row, name=f"row {n}", runs=tuple(replace(run, run_id=f"{n:032x}") for run in row.runs))
        for n in range(40)
    )
    text = page(replace(few, grid=None, rows=tuple(rows)), [], KEPT)
    assert text.count("<tr id=") == 40
    assert text.count(" data-of=") == 400
    assert len(text.encode()) < 500_000


def test_paths_are_written_to_a_hundredth_of_a_point_and_no_number_that_is_read_changes() -> None:
    image = '<svg><path d="M 46.226644 -246.5 L 0.1 7"/><text x="1.2345">0.00125</text></svg>'
    assert compact(image) == '<svg><path d="M 46.22 -246.5 L 0.1 7"/><text x="1.2345">0.00125</text></svg>'
