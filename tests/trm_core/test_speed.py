"""The measuring process: real steps, timed; what is asked and answered is JSON."""

import io
import itertools
import json
from types import SimpleNamespace

import pytest
from torch.nn.modules.module import register_module_forward_hook

from trm_core import speed
from trm_core.config import RunConfig
from trm_core.speed import main, measure

SMALL = RunConfig.parse(
    {
        "data": {"source": "generated", "box_rows": 2, "box_cols": 2, "validation": 1, "test": 1},
        "model": {"D": 8, "n_heads": 2, "inner_multiple": 8, "N_sup": 2, "puzzle_prefix": 1},
        "train": {"batch_size": 4, "precision": "fp32", "steps": 1},
    }
)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"data": {"puzzle": "maze", "side": 4, "least_path": 4}},
        {"data": {"puzzle": "arc", "side": 4}},
        {"model": {"networks": "separate", "mixer": "attention", "halting": "q_learning"}, "optim": {"ema": None}},
        {"train": {"diagnostics": True}},
    ],
)
def test_a_run_of_any_kind_can_be_measured(changes: dict[str, dict[str, object]]) -> None:
    found = measure(SMALL.change(changes), train_s=0.01, evaluate_s=0.01)
    assert found.step_s > 0
    assert found.puzzle_s > 0


def test_more_supervision_steps_make_a_puzzle_slower_and_leave_a_training_step_as_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = itertools.count()
    now = [0]  # the calls of modules so far: a clock that no other work on the machine moves

    def tick(*_: object) -> None:
        now[0] = next(calls)

    monkeypatch.setattr(speed, "time", SimpleNamespace(perf_counter=lambda: float(now[0])))
    with register_module_forward_hook(tick):
        few, many = (measure(SMALL.change({"train": {"eval_N_sup": n}}), train_s=1, evaluate_s=1) for n in (1, 30))
    assert many.puzzle_s == pytest.approx(30 * few.puzzle_s, rel=0.2)
    assert many.step_s == few.step_s


def test_each_line_has_its_answer_and_a_run_that_cannot_be_is_an_error_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = {"run": SMALL.model_dump(mode="json"), "train_s": 0.01, "evaluate_s": 0.01}
    wrong = {**asked, "run": {"model": {"T": 0}}}
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{json.dumps(asked)}\n{json.dumps(wrong)}\n{json.dumps(asked)}\n"))
    monkeypatch.setattr("trm_core.speed.torch.set_num_threads", lambda _: None)
    main()
    ready, *answers = capsys.readouterr().out.splitlines()
    assert ready == "ready"
    assert [set(json.loads(answer)) for answer in answers] == [
        {"step_s", "puzzle_s"},
        {"error"},
        {"step_s", "puzzle_s"},
    ]
