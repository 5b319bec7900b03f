"""Run: ask the chosen scenes one after the other; one that fails does not keep the others from being asked."""

from __future__ import annotations

import dataclasses
import tempfile
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import machine
from benchmarks.errors import BenchmarkError
from benchmarks.options import Options
from benchmarks.outcome import Outcome
from benchmarks.report import Report
from benchmarks.scenes.scene import Scene
from benchmarks.stage import Say, Stage


def run(scenes: Sequence[Scene], options: Options, say: Say, save: Callable[[Report], None]) -> Report:
    """Ask every scene.

    Args:
        save: called with what there is after each scene, so that a run that is killed leaves that.

    Returns:
        What came out, even of scenes that failed; `problems` then says why, and the run is a failed one.
    """
    report = Report(machine.machine(), machine.versions(), dataclasses.asdict(options))
    say(machine.sentence(dict(report.machine)))
    say(machine.sentence(dict(report.versions)))
    with tempfile.TemporaryDirectory(prefix="registry-bench-") as name:
        stage = Stage(options, Path(name), say)
        try:
            for scene in scenes:
                _ask(scene, stage, report)
                save(report)
        except KeyboardInterrupt:
            report.problems.append("interrupted.")
        finally:
            stage.end()
    return report


def _ask(scene: Scene, stage: Stage, report: Report) -> None:
    if why := _cannot(scene, stage):
        report.skipped[scene.name] = why
        stage.say(f"{scene.name}: skipped, {why}.")
        return
    stage.say(f"{scene.name}: {scene.question}")
    outcome = Outcome(scene.name, scene.question)
    try:
        scene.run(stage, outcome)
    except BenchmarkError as exc:
        outcome.problem = str(exc)
        outcome.errors |= exc.errors
    except Exception as exc:  # A bug in one scene must not cost the results of hours.
        outcome.problem = f"the tool failed: {exc!r}"
        stage.say(traceback.format_exc())
    report.outcomes.append(outcome)
    if outcome.problem:
        report.problems.append(f"{scene.name}: {outcome.problem}")
        stage.say(f"  FAILED {scene.name}: {outcome.problem}")


def _cannot(scene: Scene, stage: Stage) -> str:
    """Why a scene cannot be asked; empty when it can."""
    has_second = scene.second_url and stage.options.second_url
    return f"because the tool {scene.own}" if scene.own and not stage.own and not has_second else ""
