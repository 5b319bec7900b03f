"""The whole tool, quickly, against real replicas."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from benchmarks.__main__ import main
from benchmarks.report import Report
from benchmarks.scenes import catalogue

pytestmark = pytest.mark.slow


@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")
def test_quick_run_of_a_closed_and_an_open_loop(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What the README tells a newcomer to type works, and leaves what it says."""
    assert (
        main(
            [
                "--quick",
                "--scenes",
                "find-304,batch-10-spread-1-changed,mixed",
                "--results",
                str(tmp_path),
                "--markdown",
            ]
        )
        == 0
    )
    result = Report.from_json(json.loads((tmp_path / "results.json").read_text()))
    closed, spread, mixed = result.outcomes
    names = [outcome.name for outcome in result.outcomes]
    assert (names, result.problems) == (["find-304", "batch-10-spread-1-changed", "mixed"], [])
    for loop in (closed, spread):
        assert {"req/s", "p50", "p99", "p99.9", "CPU per request", "bare req/s", "ratio"} <= loop.numbers.keys()
    assert {"heartbeat p99", "poll p99", "longest pause", "CPU per request"} <= mixed.numbers.keys()
    assert mixed.errors == {}
    assert capsys.readouterr().out.startswith("| scene | conns |")
    assert "find with the current rev: not modified" in (tmp_path / "results.md").read_text()


def test_quick_run_of_what_many_clients_do(tmp_path: Path) -> None:
    scenes = ["churn", "connections", "tenants", "leaving", "beating"]
    assert main(["--quick", "--scenes", ",".join(scenes), "--results", str(tmp_path)]) == 0
    result = Report.from_json(json.loads((tmp_path / "results.json").read_text()))
    assert ([outcome.name for outcome in result.outcomes], result.problems) == (scenes, [])
    churn, connections, tenants, leaving, beating = (outcome.numbers for outcome in result.outcomes)
    assert churn["churn to calm"].value > 0
    assert "half peak poll p99" in churn
    assert connections["poll p50"].value > 0
    assert tenants["until another replica is ready"].value > 0
    assert leaving["rss left to peak"].value <= 1
    assert beating["set p50"].value > 0


def test_list_names_every_scene(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(catalogue.SCENES)


def test_unknown_scene_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--scenes", "find-2"]) == 1
    assert "there is no scene find-2; there are register-same" in capsys.readouterr().err
