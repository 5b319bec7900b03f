"""Report and comparison: what was measured is written, read back and compared as it was."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import compare, plots, report
from benchmarks.__main__ import main
from benchmarks.errors import BenchmarkError
from benchmarks.outcome import Number, Outcome, median_of
from benchmarks.report import Report


def closed_outcome(rate: float = 9000.0) -> Outcome:
    numbers = {
        "req/s": median_of([rate, rate - 1, rate + 1], "/s", "more"),
        "p99": median_of([2.5, 2.4, 2.6], "ms", "less"),
        "CPU per request": median_of([31.25], "µs", "less", "~"),
        "bare req/s": median_of([10_000.0]),
        "ratio": Number(rate / 10_000, "", "more", (0.8, 0.95)),
    }
    return Outcome("find-1", "find one", {"connections": 32, "body bytes": 1464}, numbers)


def other_outcome() -> Outcome:
    numbers = {"until ready": median_of([3.5, 4.0, 3.0], "s", "less")}
    series: dict[str, list[tuple[float, float]]] = {"req/s against instances": [(1000.0, 9.5), (2000.0, 9.25)]}
    return Outcome("cold-start", "how long", {"instances": 1000}, numbers, {"get 503": 2}, series, "it failed")


def a_report(*outcomes: Outcome) -> Report:
    return Report({"cores": 2}, {"python": "3"}, {"rounds": 3}, list(outcomes), {"size": "why"}, ["it failed"])


def test_report_survives_its_file() -> None:
    """`--compare` and `--plot` see what the run saw."""
    written = a_report(closed_outcome(), other_outcome())
    read = Report.from_json(json.loads(json.dumps(written.as_json())))
    assert read.outcomes == written.outcomes
    assert (read.skipped, read.problems) == (written.skipped, written.problems)


def test_markdown_has_a_row_per_closed_loop_and_per_other_number() -> None:
    lines = report.markdown(a_report(closed_outcome(), other_outcome())).splitlines()
    assert lines[2].startswith("| find-1 | 32 | 1,464 | 9,000 | - | 2.50 | - | ~31.2 | - |")
    assert lines[2].endswith("| 0.90 | (0.80–0.95) |")
    assert "| cold-start | until ready | 3.50 | s | (3.00–4.00) |" in lines
    assert "| cold-start | errors: get 503 | 2 |  |  |" in lines


def test_terminal_table_has_the_same_cells() -> None:
    told = report.text(a_report(closed_outcome(), other_outcome()))
    for cell in ("find-1", "1,464", "~31.2", "(0.80–0.95)", "until ready", "errors: get 503"):
        assert cell in told


def test_page_says_what_was_skipped_and_what_failed() -> None:
    page = report.page(a_report(closed_outcome()))
    assert "- size was skipped: why" in page
    assert "- **failed**: it failed" in page


def test_comparison_shows_change_and_verdict() -> None:
    before, after = a_report(closed_outcome(9000)), a_report(closed_outcome(8000))
    told = compare.markdown(before, after)
    assert "| find-1 | req/s | 9,000 | 8,000 | /s | -11.1% | worse |" in told
    assert "| find-1 | p99 | 2.50 | 2.50 | ms | +0.0% |  |" in told


def test_comparison_warns_of_other_settings_and_lonely_scenes() -> None:
    """Ten thousand instances against a million is no improvement of the code."""
    old, new = other_outcome(), other_outcome()
    new.setting["instances"] = 5
    told = compare.markdown(a_report(old, closed_outcome()), a_report(new))
    assert "cold-start does not compare as it is: instances was 1000 and is 5." in told
    assert "Only the first run has find-1." in told


ROUNDS = st.lists(st.integers(1, 1000).map(float), min_size=2, max_size=5)


@given(ROUNDS, ROUNDS)
def test_verdict_is_given_only_when_the_rounds_lie_apart(old: list[float], new: list[float]) -> None:
    """And it turns round with the runs, and with what is good."""
    more = compare.verdict(median_of(old, "", "more"), median_of(new, "", "more"))
    expected = "better" if min(new) > max(old) else "worse" if max(new) < min(old) else ""
    opposite = {"better": "worse", "worse": "better", "": ""}[expected]
    assert more == expected
    assert compare.verdict(median_of(new, "", "more"), median_of(old, "", "more")) == opposite
    assert compare.verdict(median_of(old, "", "less"), median_of(new, "", "less")) == opposite


def test_comparing_something_else_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.json"
    path.write_text("{}")
    assert main(["--compare", str(path), str(path)]) == 1
    assert "is no results.json of this tool" in capsys.readouterr().err


def test_compare_from_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [tmp_path / "a.json", tmp_path / "b.json"]
    for path, rate in zip(paths, (9000.0, 9900.0), strict=True):
        path.write_text(json.dumps(a_report(closed_outcome(rate)).as_json()))
    assert main(["--compare", *map(str, paths)]) == 0
    assert "+10.0% | better |" in capsys.readouterr().out


def test_missing_matplotlib_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plots are an extra: without them the run has all its numbers, and says how to get the pictures."""
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(BenchmarkError, match=r"pip install .*--plot"):
        plots.plot(a_report(closed_outcome()), tmp_path)


def test_plots_are_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    written = plots.plot(a_report(closed_outcome(), other_outcome()), tmp_path)
    names = {path.name for path in written}
    assert names == {"rates.png", "cpu.png", "latency.png", "cold-start-req-s-against-instances.png"}
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in written)
