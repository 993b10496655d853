"""Every command that takes a path refuses an address by name, and makes no folder called "s3:"."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from data_prep.__main__ import main as data_prep
from reports.__main__ import main as reports
from sweeps.cluster.__main__ import main as cluster
from sweeps.run import main as sweeps
from trm_core.__main__ import main as trm_core
from trm_core.official import main as official

COMMANDS: list[tuple[Callable[[Sequence[str]], int], str]] = [
    (data_prep, "sudoku --source generate --out {}"),
    (data_prep, "arc --source generate --out {}"),
    (data_prep, "maze --source {} --out mazes"),
    (data_prep, "verify {}"),
    (data_prep, "show {} 0"),
    (trm_core, "evaluate {} data"),
    (trm_core, "evaluate checkpoint data --out {}"),
    (trm_core, "vote predictions --data data --out {}"),
    (trm_core, "solve {} puzzle"),
    (official, "import {} out"),
    (sweeps, "--study recursion_depth --profile mini --out {}"),
    (sweeps, "--study recursion_depth --profile mini --data {}"),
    (sweeps, "--study recursion_depth --profile mini --data sudoku={}"),
    (sweeps, "--search lr_wd --profile mini --out {}"),
    (sweeps, "status --out {}"),
    (reports, "recursion_depth --out {}"),
    (reports, "all --out {}"),
    (reports, "all --check {}"),
    (reports, "watch recursion_depth --out {}"),
    (reports, "pair first second --out {}"),
    (cluster, "check {}"),
]


@pytest.mark.parametrize(("main", "line"), COMMANDS, ids=[line for _, line in COMMANDS])
@pytest.mark.parametrize("address", ["s3://bucket/results", "GS://bucket", "file:///results"])
def test_an_address_where_a_path_is_expected_is_refused_by_name(
    main: Callable[[Sequence[str]], int],
    line: str,
    address: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        code: object = main(line.format(address).split())
    except SystemExit as ended:
        code = ended.code
    said = capsys.readouterr().err
    assert (code, len(said.splitlines())) == (2, 1), said
    assert f"{address}: {address.partition('://')[0]}:// is no path of this machine" in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["results", "/results", "s3:", "a:/b", "1s3://b"])
def test_a_path_with_a_colon_is_a_path(path: str) -> None:
    from data_prep.places import local_path

    assert local_path(path) == Path(path)
