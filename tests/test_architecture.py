"""The walls of the house: imports point left, and each library has its doors."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("data_prep", "trm_core", "sweeps", "reports")  # in reading order: each may import those before it

# The one import that points right: the command makes its report when the runs have ended.
EXCEPTIONS = {("sweeps/run.py", "reports")}

DOORS = {  # a file, or every file of a folder
    # the worker sets threads and speaks to its peers; on another machine torch is asked what GPUs it sees
    "torch": {"trm_core", "sweeps/worker.py", "sweeps/ray_train.py", "sweeps/probe.py"},
    # bring one up or join one, look at its machines, ask whether it is there, Tune (what it runs, what is next, what it
    # says), what its dead say, Train, evaluations apart, jobs, and what it does not promise to keep
    "ray": {
        *("sweeps/machines.py", "sweeps/preflight.py", "sweeps/head.py", "sweeps/launch.py", "sweeps/next_run.py"),
        *("sweeps/watch.py", "sweeps/causes.py", "sweeps/worker.py", "sweeps/submit/jobs.py"),
        "sweeps/apart.py",
        "sweeps/ray_train.py",
        "sweeps/ray_internals.py",
    },
    "mlflow": {"sweeps/records"},
    # what it proposes, where it keeps that, what it draws
    "optuna": {"sweeps/search.py", "sweeps/search_storage.py", "sweeps/search_figures.py"},
}


def _files() -> list[str]:
    return sorted(str(path.relative_to(ROOT)) for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def _imports(file: str) -> set[tuple[str, bool]]:
    """What a file imports, by top-level name, and whether it does so when it is itself imported."""
    return {(name.split(".")[0], at_once) for name, at_once in _modules(file)}


def _modules(file: str) -> set[tuple[str, bool]]:
    """The modules that a file imports, or imports names from, and whether it does so when it is itself imported."""
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    later = {
        inner
        for outer in ast.walk(tree)
        if isinstance(outer, ast.FunctionDef | ast.AsyncFunctionDef) or _is_for_types(outer)
        for inner in ast.walk(outer)
    }
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: relative import; write the package's name"
            names = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        found |= {(name, node not in later) for name in names}
    return found


def _below(file: str) -> set[str]:
    """The files of ours that a file imports, at whatever time."""
    known = {file.removesuffix(".py").removesuffix("/__init__").replace("/", "."): file for file in _files()}
    return {known[name] for name, _ in _modules(file) if name in known} - {file}


def _is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


@pytest.mark.parametrize("file", _files())
def test_imports_point_left(file: str) -> None:
    to_the_right = PACKAGES[PACKAGES.index(file.split("/")[0]) + 1 :]
    wrong = {name for name, _ in _imports(file) if name in to_the_right}
    assert wrong <= {name for where, name in EXCEPTIONS if where == file}


@pytest.mark.parametrize(("file", "name"), sorted(EXCEPTIONS))
def test_the_exception_is_in_use_and_waits_until_the_runs_have_ended(file: str, name: str) -> None:
    assert (name, False) in _imports(file), "delete the exception, nothing uses it"
    assert (name, True) not in _imports(file), f"{file} may import {name} inside a function only"


def test_no_files_import_each_other_in_a_circle() -> None:
    """Imports inside functions count too: a circle put off is a circle."""
    below = {file: {other for other in _below(file) if not other.endswith("__init__.py")} for file in _files()}
    while ground := {file for file, others in below.items() if not others}:
        below = {file: others - ground for file, others in below.items() if file not in ground}
    assert below == {}


@pytest.mark.parametrize("library", DOORS)
def test_a_library_is_imported_at_its_doors_only(library: str) -> None:
    users = {file for file in _files() if any(name == library for name, _ in _imports(file))}
    doors = {file for file in users for door in DOORS[library] if file == door or file.startswith(f"{door}/")}
    assert users - doors == set()


@pytest.mark.parametrize("package", ["data_prep", "trm_core"])
def test_trm_core_and_data_prep_know_no_orchestration(package: str) -> None:
    names = {name for file in _files() if file.startswith(package) for name, _ in _imports(file)}
    assert not names & {"ray", "mlflow", "optuna", "sweeps", "reports"}


@pytest.mark.parametrize(
    "modules",
    [
        "sweeps.study, sweeps.studies, sweeps.recipes, sweeps.profiles, sweeps.campaign, sweeps.plan, sweeps.run",
        "sweeps.search_spec, sweeps.trials, sweeps.searches.lr_wd, sweeps.searches.recursion",
        "reports, reports.report, reports.__main__",
        "reports.search_report, reports.search_page, reports.pruning_report, sweeps.search_record, sweeps.pruning",
        "trm_core.config, trm_core.outcomes, trm_core.pyfunc",
        "sweeps.cluster.__main__, sweeps.cluster.check, sweeps.cluster.launcher",
        "trm_core.solving.thought_file, trm_core.solving.picture, trm_core.solving.page",
    ],
)
def test_what_declares_and_what_reports_loads_no_torch_and_no_ray(modules: str) -> None:
    find = "from sweeps.study import all_studies; all_studies()"
    asked = f"import sys, {modules}; {find}; print(*sorted({{'torch', 'ray', 'mlflow', 'optuna'}} & set(sys.modules)))"
    answer = subprocess.run(
        [sys.executable, "-c", asked], cwd=ROOT, capture_output=True, text=True, check=True, env={**os.environ}
    )
    assert answer.stdout.strip() == ""


def test_what_drives_runs_and_searches_loads_no_torch() -> None:
    """Only processes that train wait for it."""
    modules = "sweeps.launch, sweeps.proposed, sweeps.search, sweeps.records.write"
    asked = f"import sys, {modules}; print('torch' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", asked], cwd=ROOT, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"


@pytest.mark.parametrize("package", PACKAGES)
def test_an_init_file_holds_a_docstring_and_nothing_else(package: str) -> None:
    for file in (ROOT / package).rglob("__init__.py"):
        body = ast.parse(file.read_text(encoding="utf-8")).body
        more = [ast.unparse(one).splitlines()[0] for one in body[1:]]
        if file == ROOT / "trm_core" / "__init__.py":  # `trm_core.solve` is imported once it is asked for
            assert more == [
                "from typing import TYPE_CHECKING, Any",
                "if TYPE_CHECKING:",
                "def __getattr__(name: str) -> Any:",
            ]
        else:
            assert not more, file
        assert ast.get_docstring(ast.Module(body, [])), file
