"""The page as a person has it: in a headless Chromium, from a file, with no server and no network."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import escape
from pathlib import Path
from typing import Any

import pytest

from reports.page import page
from reports.types import Table
from sweeps.study import Study
from tests.reports.records import record, table_of

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), ""
)

pytestmark = [pytest.mark.browser, pytest.mark.skipif(not CHROMIUM, reason="no Chromium on this machine")]


def found_in(html: str, question: str, folder: Path, *, width: int = 1280) -> Any:
    """What a script finds in the page, as JSON. It is the body of an async function; `page` is the page's document.

    The page stands in a frame of that width: a window of Chromium's is never narrower than 500 pixels.
    """
    ask = f"""
      const frame = document.querySelector("iframe");
      frame.onload = async () => {{
        const page = frame.contentDocument, view = frame.contentWindow;
        let said;
        try {{ said = await (async () => {{ {question} }})(); }} catch (error) {{ said = {{ error: String(error) }}; }}
        const text = document.createElement("pre");
        text.textContent = "SAID " + JSON.stringify(said) + " END";
        document.body.append(text);
      }};
    """
    frame = f'<iframe style="width: {width}px; height: 844px; border: 0" srcdoc="{escape(html)}"></iframe>'
    path = folder / "frame.html"
    path.write_text(f"<!doctype html><meta charset=utf-8><body>{frame}<script>{ask}</script>", encoding="utf-8")
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}"]
    command = [CHROMIUM, *flags, "--virtual-time-budget=5000", "--dump-dom", path.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    said = re.search(r"<pre>SAID (.*) END</pre>", done.stdout, flags=re.DOTALL)
    assert said is not None, done.stderr[-2000:]
    text = said[1].replace("&lt;", "<").replace("&gt;", ">").replace("&nbsp;", "\u00a0").replace("&amp;", "&")
    answer = json.loads(text)
    assert not (isinstance(answer, dict) and "error" in answer), answer
    return answer


@pytest.fixture
def table(study: Study) -> Table:
    scores = {"TRM k=1": (0.05, 0.2), "HRM k=1": (0.7, 0.72)}
    return table_of(
        study,
        "mini",
        [record(study, row, one, seed=seed) for row, found in scores.items() for seed, one in enumerate(found)],
    )


def test_a_click_sorts_a_table_and_says_so_a_third_undoes_it_and_keys_reach_it(table: Table, tmp_path: Path) -> None:
    ways = """
      const tables = [...page.querySelectorAll("table.sorts")];
      const table = tables.find((one) => one.tHead.textContent.includes("MLflow run"));
      const head = [...table.tHead.rows[0].cells].find((one) => one.textContent === "Accuracy");
      const button = head.querySelector("button");
      const cells = () => [...table.tBodies[0].rows].map((row) => row.cells[2].textContent);
      const seen = () => [head.getAttribute("aria-sort"), cells()];
      const all = [seen()];
      for (let click = 0; click < 3; click++) { button.click(); all.push(seen()); }
      button.focus();
      return { all, reachable: page.activeElement === button && button.tabIndex === 0 };
    """
    said = found_in(page(table, []), ways, tmp_path)
    asked = ["5.0", "20.0", "70.0", "72.0"]
    assert said["all"] == [[None, asked], ["ascending", asked], ["descending", asked[::-1]], [None, asked]]
    assert said["reachable"], "by the keyboard"


def test_numbers_sort_by_what_they_are_and_words_come_last_both_ways(table: Table, tmp_path: Path) -> None:
    cells = [
        "27M",
        "671B",
        "–",
        "5M/19M",
        "90k",
        "5,028,866",
        "12.6 ± 6.3",
        "−3.2",
        "+1.2 (p 0.03)",
        "[85.2, 89.3]",
        "failed",
    ]
    fill = f"""
      const table = page.querySelector("table.sorts"), body = table.tBodies[0];
      body.replaceChildren(...{json.dumps(cells)}.map((text) => {{
        const row = page.createElement("tr");
        row.append(...[...table.tHead.rows[1].cells].map(() => page.createElement("td")));
        row.cells[4].textContent = text;
        return row;
      }}));
    """
    # the table keeps its rows from when it was made ready, so the script runs again over these
    again = """
      const code = [...page.scripts].at(-1).textContent;
      page.querySelectorAll(".sort").forEach((one) => one.replaceWith(...one.childNodes));
      view.eval(code);
      const button = table.tHead.rows[1].cells[4].querySelector("button");
      const seen = () => [...body.rows].map((row) => row.cells[4].textContent);
      button.click(); const up = seen();
      button.click(); const down = seen();
      return { up, down };
    """
    said = found_in(page(table, []), fill + again, tmp_path)
    order = ["−3.2", "+1.2 (p 0.03)", "12.6 ± 6.3", "[85.2, 89.3]", "90k", "5M/19M", "5,028,866", "27M", "671B"]
    assert said["up"] == [*order, "–", "failed"]
    assert said["down"] == [*order[::-1], "–", "failed"]


def test_a_number_leads_to_its_runs_which_are_marked(table: Table, tmp_path: Path) -> None:
    follow = """
      const link = [...page.querySelectorAll("table.grid a")].find((one) => one.textContent.startsWith("12.5"));
      const there = page.getElementById(link.getAttribute("href").slice(1));
      view.location.hash = link.getAttribute("href");
      await new Promise((done) => setTimeout(done, 300));
      const marked = [...page.querySelectorAll("tr.hit")].map((row) => row.cells[0].textContent);
      return { row: there.cells[0].textContent, marked, seen: there.getBoundingClientRect().top < view.innerHeight };
    """
    said = found_in(page(table, []), follow, tmp_path)
    assert said == {"row": "TRM k=1", "marked": ["TRM k=1"] * 2, "seen": True}


def test_a_command_is_copied_or_where_that_cannot_be_selected(table: Table, tmp_path: Path) -> None:
    copy = """
      Object.defineProperty(view.navigator, "clipboard", { value: CLIPBOARD });
      page.execCommand = () => false;
      const command = page.querySelector(".command"), button = command.querySelector("button.copy");
      button.click();
      await new Promise((done) => setTimeout(done, 100));
      const selected = view.getSelection().toString();
      const code = command.querySelector("code").textContent;
      return { word: button.textContent, selected, code, kept: view.kept || "" };
    """
    kept = "{ writeText: async (text) => { view.kept = text; } }"
    said = found_in(page(table, []), copy.replace("CLIPBOARD", kept), tmp_path)
    assert said["word"] == "Copied"
    assert said["kept"] == said["code"] == "python sweeps/run.py --study small_depth --profile mini --seeds 2"
    said = found_in(page(table, []), copy.replace("CLIPBOARD", "undefined"), tmp_path)
    assert said["word"] == "Selected"
    assert said["selected"] == said["code"]


def test_on_a_phone_the_first_number_is_on_the_first_screen_and_keeps_its_interval(
    table: Table, tmp_path: Path
) -> None:
    look = """
      const links = [...page.querySelectorAll("table.grid a")].filter((one) => one.textContent.includes("±"));
      const parted = links.filter((one) => {
        const range = page.createRange(), text = one.firstChild, at = text.data.indexOf("±");
        range.setStart(text, at); range.setEnd(text, text.data.length);
        return range.getClientRects().length > 1;
      });
      const { right, bottom } = links[0].getBoundingClientRect();
      return { width: page.documentElement.scrollWidth, right, bottom, parted: parted.length };
    """
    said = found_in(page(table, []), look, tmp_path, width=390)
    assert said["width"] <= 390, "one need not scroll sideways"
    assert said["right"] <= 390
    assert said["bottom"] <= 844
    assert said["parted"] == 0
