"""A training by the clock, evaluated as it goes on: accuracy over time, and the time to 80, 85 and 87 %.

Two times: training_s, the training steps alone, and wall_s, with evaluations and checkpoints. Both go on where a
resumed training goes on.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks import curve, parts
from benchmarks.rows import Clock, Row
from benchmarks.turns import device_name
from trm_core import checkpoint as checkpoints
from trm_core.checkpoint import BadCheckpoint
from trm_core.evaluate import evaluate
from trm_core.settling import Halt
from trm_core.supervision import empty_slots
from trm_core.trainer import Trainer

LEVELS = (0.80, 0.85, 0.87)  # exact accuracy
LOOK_EVERY = 10  # steps between looks at the loss and the clock; a look waits for the GPU
Z = 1.959963984540054  # standard normal quantile of a 95 % interval


class TimedTraining:
    """Train until the minutes, --stop-at or the run end; evaluate and save by the clock, and always at the end."""

    def __init__(
        self,
        options: argparse.Namespace,
        trainer: Trainer,
        clock: Clock,
        before: Row,
        put: Callable[[Row], None],
    ) -> None:
        """before: what an earlier training, now resumed, had put; put: called with all that is known."""
        self.options, self.trainer, self.clock, self.put = options, trainer, clock, put
        self.known: Row = {"points": before.get("points", [])}
        self.before = {name: float(before.get(name, 0.0)) for name in ("training_s", "wall_s")}
        self.began, self.first_step = clock.now(), trainer.step
        self.aside_s = 0.0  # of wall_s, what was no training
        self.loss: float | None = None

    def run(self) -> None:
        """All of it."""
        options, trainer, clock = self.options, self.trainer, self.clock
        stop = min(trainer.run.train.steps, options.stop_at or trainer.run.train.steps)
        look_s, save_s = self.aside(self.look), 0.0
        looked = saved = clock.now()
        while trainer.step < stop:
            trainer.take_step()
            if trainer.step == self.first_step + 1:
                save_s = self.aside(self.save)  # early: how long it takes must be known before time runs out
            if trainer.step % LOOK_EVERY == 0:
                self.loss = trainer.window_metrics()["train/loss"]
            elif trainer.device.type != "cpu":
                continue
            if clock.left_s() < 10 + 1.5 * (look_s + save_s):
                break
            if clock.now() - looked > options.evaluate_every:
                look_s, looked = self.aside(self.look), clock.now()
            if clock.now() - saved > options.checkpoint_every:
                save_s, saved = self.aside(self.save), clock.now()
        if trainer.slots is not None:
            self.aside(self.save)  # before the last evaluation: a run cut off there has lost nothing
        if self.points[-1]["step"] != trainer.step:
            look_s = self.aside(self.look)
        for level, found in self.known["time_to"].items():
            print(f"{level}: " + (said(found) if found else "not reached"), flush=True)
        if clock.left_s() > look_s:
            self.settle()
        else:
            print("evaluation of settled answers: left out, no time", flush=True)

    @property
    def points(self) -> list[Row]:
        """The evaluations so far."""
        points: list[Row] = self.known["points"]
        return points

    def evaluate(self, halt: Halt) -> tuple[dict[str, float], float]:
        """(scores on the test puzzles, --test-puzzles of them at most; the seconds that it took)."""
        trainer, began = self.trainer, self.clock.now()
        scores = evaluate(
            trainer.evaluated_model,
            trainer.data.test,
            limit=self.options.test_puzzles,
            batch_size=trainer.run.train.batch_size,
            N_sup=trainer.N_sup,
            device=trainer.device,
            halt=halt,
        )
        return scores, self.clock.now() - began

    def settle(self) -> None:
        """The last evaluation once more, puzzles leaving as their answers settle: what that saves and costs."""
        scores, took_s = self.evaluate("settled")
        whole = self.points[-1]
        faster = whole["evaluation_s"] / max(took_s, 1e-9)  # a coarse clock may stand still
        self.known["settled"] = {**scores, "evaluation_s": took_s, "times_as_fast": faster}
        self.put(self.known)
        print(
            f"settled answers: exact {scores['exact_accuracy']:.3f} after {scores['steps_used']:.1f} steps a puzzle,"
            f" {whole['exact_accuracy']:.3f} after all {self.trainer.N_sup}; {faster:.1f} times as fast",
            flush=True,
        )

    def aside(self, work: Callable[[], None]) -> float:
        """Something that is no training. Returns the seconds it took."""
        if self.trainer.device.type == "cuda":
            torch.cuda.synchronize(self.trainer.device)  # steps still under way are training
        began = self.clock.now()
        work()
        took = self.clock.now() - began
        self.aside_s += took
        return took

    def look(self) -> None:
        """Evaluate, record, draw."""
        trainer = self.trainer
        wall_s = self.clock.now() - self.began
        times = {
            "training_s": self.before["training_s"] + wall_s - self.aside_s,
            "wall_s": self.before["wall_s"] + wall_s,
        }
        scores, evaluation_s = self.evaluate("never")
        times |= {"wall_s": times["wall_s"] + evaluation_s}  # an accuracy is known when it is measured
        low, high = wilson(scores["exact_accuracy"], int(scores["puzzles"]))
        minutes = times["wall_s"] / 60
        point = {
            "step": trainer.step,
            "minutes": minutes,
            **times,
            "loss": self.loss,
            "evaluation_s": evaluation_s,
            **scores,
            "low": low,
            "high": high,
        }
        points = [*(old for old in self.points if old["step"] < trainer.step), point]
        steps_s = (trainer.step - self.first_step) / max(wall_s - self.aside_s, 1e-9)  # a clock may stand still
        self.known = {**times, "steps_per_second": steps_s, "points": points, "time_to": time_to(points)}
        self.put(self.known)
        title = f"TRM-MLP on Sudoku, {len(trainer.data.train):,} training puzzles"
        told = f"{int(scores['puzzles']):,} test puzzles, 95 % interval; {device_name(trainer.device)}"
        (self.options.out / "accuracy.svg").write_text(curve.draw(self.points, title, told))
        print(
            f"step {trainer.step:>6}  {minutes:5.1f} min  exact {scores['exact_accuracy']:.3f} [{low:.3f}, {high:.3f}]"
            f"  cells {scores['cell_accuracy']:.3f}" + ("" if self.loss is None else f"  loss {self.loss:.3f}"),
            flush=True,
        )

    def save(self) -> None:
        """OUT/checkpoint_<step>, in place of the one before it."""
        options, trainer = self.options, self.trainer
        work = options.out / ".saving"
        shutil.rmtree(work, ignore_errors=True)
        path = trainer.save(work)
        if options.checkpoint == "small":
            whole = checkpoints.load(path)
            kept = {name: tensor for name, tensor in whole.training.items() if name.startswith("model/")}
            path = checkpoints.save(dataclasses.replace(whole, training=kept), work / "small")
        final: Path = options.out / f"checkpoint_{trainer.step:08d}"
        parts.split(path, final)
        shutil.rmtree(work)
        for old in options.out.glob("checkpoint_*"):
            if old != final:
                shutil.rmtree(old)


def time_to(points: Sequence[Row]) -> dict[str, Row | None]:
    """For each of LEVELS the first evaluation that reached it: step, training_s, wall_s; None: none did."""
    found: dict[str, Row | None] = {}
    for level in LEVELS:
        reached = (point for point in points if point["exact_accuracy"] >= level)
        first = next(reached, None)
        found[f"{level:.0%}"] = first and {name: first[name] for name in ("step", "training_s", "wall_s")}
    return found


def said(reached: Row) -> str:
    """When an accuracy was reached, in words."""
    return f"step {reached['step']}, {reached['training_s']:.0f} s of training, {reached['wall_s']:.0f} s in all"


def wilson(accuracy: float, puzzles: int) -> tuple[float, float]:
    """Wilson 95 % interval of an accuracy [0..1] on so many puzzles."""
    shrink = 1 + Z * Z / puzzles
    centre = (accuracy + Z * Z / (2 * puzzles)) / shrink
    half = Z / shrink * math.sqrt(accuracy * (1 - accuracy) / puzzles + Z * Z / (4 * puzzles * puzzles))
    return max(0.0, centre - half), min(1.0, centre + half)


def resume(trainer: Trainer, folder: Path, out: Path) -> dict[str, Any]:
    """Bring the trainer to where the run in a folder stopped; returns that run's result. Raises BadCheckpoint."""
    found = sorted(folder.glob("checkpoint_*"))
    if not found:
        raise BadCheckpoint(f"{folder}: no checkpoint_* here; give the --out of an earlier run")
    work = out / ".joining"
    shutil.rmtree(work, ignore_errors=True)
    try:
        parts.join(found[-1], work)
        saved = checkpoints.load(work)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    if not any(name.startswith("slots/") for name in saved.training):  # a small checkpoint
        print("small checkpoint: slots and the optimiser's moving averages start anew")
        batch = trainer.batches.draw(saved.step, 0, 1, trainer.device)
        slots = {f"slots/{name}": tensor for name, tensor in empty_slots(trainer.model, batch).tensors().items()}
        saved = dataclasses.replace(saved, training=saved.training | slots | {"sums": trainer.sums})
    trainer.restore(saved)
    try:
        earlier: dict[str, Any] = json.loads((folder / "result.json").read_text())
    except (OSError, ValueError) as error:
        raise BadCheckpoint(f"{folder}/result.json: missing or unreadable ({error}); copy it here again") from None
    return earlier
