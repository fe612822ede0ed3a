"""The search for the fastest that counts: its budget, what its files say, and what it tells."""

import json
import os
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from accuracy_scripts.paired import Outcomes, certify
from common.errors import RunFailed, UsageError
from suite import plugins, recipes
from suite.places import cache_dir
from suite.probes import looks
from suite.variant import Requested, Serving
from tools.study import best, best_report, candidates, contests, halving, shelf
from tools.study.candidates import BELOW, EMULATED, FAILED, NEAR, OPEN, UNSEEN, Candidate
from tools.study.clock import Clock, seconds
from tools.study.halving import REFERENCE_PACE, Pace
from tools.study.plan import Cell, Study, cells_of

pytestmark = pytest.mark.side_by_side

REFERENCE = Cell("fashion-mobilenet", "onnxruntime", "offline", "")
WORKLOAD = plugins.workload(REFERENCE.workload)
INT8 = {"uint8 x int8 on CPU": 9}


def default(
    workload: str,
    backend: str = "onnxruntime",
    scenario: str = "offline",
    *,
    quick: bool = True,
    end_to_end: bool = False,
) -> Study:
    return best.default([workload], backend, scenario, quick=quick, end_to_end=end_to_end)


def of(recipe: str) -> Cell:
    return replace(REFERENCE, recipe=recipe)


@pytest.mark.parametrize(("text", "expected"), [("90s", 90), ("20m", 1200), ("1h", 3600), (" 1.5H ", 5400)])
def test_a_budget_is_a_number_and_a_unit(text: str, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "20", "m", "-5m", "20 m", "1e3s", "59s", "nanm", "٣m", "9" * 400 + "s"])
def test_what_is_no_budget_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(UsageError, match=r"^--budget is '.*'; give a time of 60s or more, such as 90s, 20m or 1h\.$"):
        seconds(text)


def test_time_is_spent_once(tmp_path: Path) -> None:
    first = Clock(tmp_path, "best", 100.0)
    first._since -= 30
    first.done(shelf.LOOKS, "a")
    assert 69 < first.left() <= 70 and 30 <= first.spent(shelf.LOOKS) < 31
    again = Clock(tmp_path, "best", 40.0)
    Clock(tmp_path, "best", 70.0).check_left()
    said = "too little time to try anything again: 10 s left of --budget, and the longest step took 30 s. Give a larger"
    with pytest.raises(UsageError, match=f"^--retry-failed has {said}"):
        again.check_left()
    assert 9 < again.left() <= 10 and again.spent(shelf.TURNS) == 0 and again.longest(shelf.LOOKS) >= 30
    assert Clock(tmp_path, "study", 40.0).spent() == 0
    # A step that is tried again is as long as its last try, and costs both; the next start knows that too.
    again._since -= 20
    again.done(shelf.LOOKS, "a")
    later = Clock(tmp_path, "best", 100.0)
    assert 49 < later.spent() < 52 and 19 < later.longest(shelf.LOOKS) < 22


@pytest.mark.parametrize("took", ["{}", '{"a": "1"}', '{"a": NaN}', '{"a": -1}', "[]"])
def test_a_damaged_clock_is_named(tmp_path: Path, took: str) -> None:
    path = tmp_path / "clocks" / "best.json"
    path.parent.mkdir()
    path.write_text(f'{{"schema": 1, "took_s": {took}}}' if took != "{}" else '{"schema": 1}')
    with pytest.raises(UsageError, match=r"clocks/best\.json is no file of a study .*Delete it, and it is made again"):
        Clock(tmp_path, "best", 100.0)


def test_one_workload_on_one_backend_is_searched() -> None:
    search = best.search_of(default("fashion-mobilenet"))
    assert search.reference == REFERENCE and REFERENCE not in search.cells[1:]
    assert not any("emulate" in cell.recipe for cell in best.search_of(default("fashion-resnet", quick=False)).cells)
    assert best.search_of(default("fashion-mobilenet", scenario="server")).reference.scenario == "server"
    torch = best.search_of(default("fashion-mobilenet", backend="torch", quick=False, end_to_end=True)).cells
    assert {"fuse:compile", "prune:0.3"} <= {cell.recipe for cell in torch}
    assert {cell.setting for cell in torch} == {"torch, offline, end to end"}
    for cells in (
        cells_of(["all"], ["onnxruntime"], ["offline"], ["prune:0.5"]),
        cells_of(["fashion-resnet"], ["onnxruntime", "torch"], ["offline"], ["prune:0.5"]),
    ):
        with pytest.raises(UsageError, match="Give --workload, one of: fashion-fcos, fashion-mobilenet, f"):
            best.search_of(Study(cells))


def test_in_server_how_to_serve_is_not_decided_by_throughput() -> None:
    found = {cell.recipe for cell in default("fashion-resnet", scenario="server", quick=False).cells}
    assert "quantize:int8" in found and not [one for one in found if one.startswith(("batch", "parallel"))]
    with pytest.raises(UsageError, match="leave batch:256 out"):
        best.search_of(Study(cells_of(["fashion-resnet"], ["onnxruntime"], ["server"], ["batch:256"])))


def test_what_can_never_count_is_not_searched() -> None:
    with pytest.raises(UsageError, match="Nothing that runs on the backend null counts"):
        best.search_of(default("fashion-resnet", backend="null", quick=False))
    with pytest.raises(UsageError, match="that for torch is short"):
        default("fashion-resnet", backend="torch", quick=True)


@pytest.mark.parametrize(("scenario", "per_query"), [("offline", None), ("server", None), ("multi-stream", 8)])
def test_turns_are_of_what_the_scenario_is_about(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scenario: str, per_query: int | None
) -> None:
    jobs: list[dict[str, Any]] = []
    monkeypatch.setattr("suite.prepare.call", lambda task, job, *_: jobs.append(job) or ["block"])
    monkeypatch.setattr("suite.prepare.make", lambda plan: Made(plan.recipe))
    search = best.search_of(default("fashion-resnet", scenario=scenario))
    reference = search.reference
    serving = asdict(Serving(batch=8 if per_query else 64, max_wait_us=0, sessions=1, threads=1, device="cpu"))
    looked = {"state": "measured", "serving": serving, "answers": [], "variant": {"id": ""}}
    shelf.keep(tmp_path, shelf.LOOKS, reference.id, looked)
    shelf.keep(tmp_path, shelf.LOOKS, replace(reference, recipe="batch:256").id, {**looked, "variant": {"id": "256"}})
    places = contests.Places(tmp_path, tmp_path, lambda dataset: str(tmp_path))
    found = best._turns(search, replace(reference, recipe="batch:256"), 2, places)
    # Each block is of a process of its own.
    assert found["blocks"] == ["block"] * 2 and [job["terms"]["most_blocks"] for job in jobs] == [1, 1]
    job = jobs[0]
    assert (job["stream"] or {}).get("samples_per_query") == per_query
    # A stream's batch is no larger than its query.
    assert job["variant_serving"]["batch"] == (8 if per_query else 256)
    assert search.seconds == (2.0 if per_query else 0.35)
    assert best._longest(search, Clock(tmp_path, "best", 1e3)) == (150 if scenario == "server" else 40)
    # What fails in the second of three leaves the first.
    ended = iter([["block"], RunFailed("It ended."), ["block"]])
    monkeypatch.setattr(best, "turns", lambda *given: _or_raise(next(ended)))
    assert best._turns(search, replace(reference, recipe="batch:256"), 3, places)["blocks"] == ["block"]
    with pytest.raises(RunFailed, match=r"^It ended\.$"):
        ended = iter([RunFailed("It ended.")])
        best._turns(search, replace(reference, recipe="batch:256"), 3, places)
    monkeypatch.setattr(best, "turns", contests.turns)
    # A model that was made again, and is another, has not given those answers.
    shelf.keep(tmp_path, shelf.LOOKS, replace(reference, recipe="batch:256").id, {**looked, "variant": {"id": "255"}})
    with pytest.raises(RunFailed, match=r"^batch:256 was made again .* another model now \(255 then, 256 now\)"):
        best._turns(search, replace(reference, recipe="batch:256"), 2, places)


def _or_raise(found: Any) -> Any:
    if isinstance(found, Exception):
        raise found
    return found


class Made:
    """What a recipe that asks for batches would be made to."""

    def __init__(self, recipe: str) -> None:
        self.subject: dict[str, Any] = {}
        self.variant = SimpleNamespace(requested=recipes.requested(recipe, Requested()), id=recipe[-3:])


def test_in_server_the_winner_holds_more_load_than_the_reference() -> None:
    def server(recipe: str, pace: Pace, peak: float) -> Candidate:
        found = candidate(recipe, OPEN, 10 if recipe else 0, pace, counts=True)
        assert found.verdict
        metric = {"value": peak, "unit": "queries/s"}
        verdict = {**found.verdict, "verdict": {**found.verdict["verdict"], "metric": metric}}
        return replace(found, cell=replace(found.cell, scenario="server"), verdict=verdict)

    base, less, more = (
        server("", REFERENCE_PACE, 6600.0),
        server("quantize:int8", FAST, 6500.0),
        server("cluster:8", TIED, 7000.0),
    )
    text, record = told(base, less, more)
    assert record["winner"] == "cluster:8"
    assert "counts, and held no more load than the reference: 6,500.0 queries/s" in text
    assert "Full runs of `reference` through LoadGen: 6,600.0 queries/s" in text
    text, record = told(base, less)
    assert record["reference_is_the_answer"] and "May be faster" not in text
    # What is slower by its turns than one that held less stays in the race, and without the reference nobody wins.
    open_, unjudged = candidate("prune:0.1", OPEN, 10, TIED), server("", REFERENCE_PACE, 0.0)
    open_ = replace(open_, cell=replace(open_.cell, scenario="server"))
    known, eligible, counts = candidates.figures([base, less, open_])
    assert halving.next_to_judge(known, eligible, counts) == open_.cell and not counts[less.cell]
    assert told(unjudged, more)[1]["reference_is_the_answer"]
    # What the reference did not hold is no load to hold more than.
    assert base.verdict
    lost = {**base.verdict, "verdict": {**base.verdict["verdict"], "counts": False}}
    assert candidates.held_less(more, replace(base, verdict=lost)) and not candidates.held_less(more, base)
    checks = [{"name": "valid", "passed": False, "detail": "LoadGen says INVALID: no."}]
    lost = {**lost, "verdict": {**lost["verdict"], "checks": checks}}
    text, record = told(replace(base, verdict=lost), more, open_)
    assert (
        record["reference_is_the_answer"] and "counts with 7,000.0 queries/s; what the reference holds is not" in text
    )
    assert "What load the reference holds is not known, and nothing can hold more: --retry-failed seeks it" in text
    known, eligible, counts = candidates.figures([replace(base, verdict=lost), more, open_])
    assert halving.leader(known, eligible, counts) is None and halving.next_to_judge(known, eligible, counts) is None


@pytest.mark.parametrize("broke", [True, False])
def test_full_runs_that_failed_or_were_not_valid_leave_a_candidate_open(broke: bool) -> None:
    base, fast = candidate("", OPEN, 0, REFERENCE_PACE, counts=True), candidate("quantize:int8", OPEN, 10, FAST, False)
    checks = [{"name": "valid", "passed": False, "detail": "LoadGen says INVALID: no."}]
    judged = {"state": "judged", "verdict": {"counts": False, "checks": checks, "metric": None}}
    verdict = {"state": "failed", "reason": "It ended."} if broke else judged
    text, record = told(base, replace(fast, verdict=verdict))
    assert record["reference_is_the_answer"]
    assert "its full runs failed or were not valid (--retry-failed makes them again): `quantize:int8` (" in text
    assert f"full runs failed or not valid: {'It ended.' if broke else 'valid: LoadGen says INVALID'}" in text
    # Of what is refused for what it answers nothing is left open.
    text, _ = told(base, fast)
    assert "--retry-failed" not in text and "refused: same-answers: they are not" in text


class Found:
    """A search on disk whose candidates never ran."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.cells = folder, [REFERENCE]
        data = cache_dir("", os.environ) / "data" / WORKLOAD.dataset_name
        self.truth = WORKLOAD.open_dataset(data).truth()
        self.order = looks.order(len(self.truth), candidates.SEED)
        self.keep(REFERENCE, 681, len(self.truth), None)

    def keep(self, cell: Cell, wrong: int, samples: int, arithmetic: dict[str, int] | None) -> None:
        """Keeps a look at so many samples, of which the first `wrong` ones are answered wrongly."""
        answers = self.truth[self.order][:samples]
        answers[:wrong] = (answers[:wrong] + 1) % 10
        record = {"cell": asdict(cell), "state": "measured", "reason": None, "arithmetic": arithmetic}
        shelf.keep(self.folder, shelf.LOOKS, cell.id, {**record, "answers": answers.tolist(), "serving": {}})

    def look(self, recipe: str, wrong: int, samples: int = 10_000, arithmetic: dict[str, int] | None = INT8) -> Cell:
        self.cells.append(of(recipe))
        self.keep(of(recipe), wrong, samples, arithmetic)
        return of(recipe)

    def turns(self, cell: Cell, before: int, *ratios: float, reason: str | None = None) -> None:
        blocks = [
            {"reference": [100.0, 100.0], "variant": [100 * one, 100 * one], "reference_outside": True}
            for one in ratios
        ]
        record = {"cell": asdict(cell), "state": "failed" if reason else "measured", "reason": reason}
        name = candidates.turns_name(cell, before)
        shelf.keep(self.folder, shelf.TURNS, name, {**record, **({} if reason else {"blocks": blocks})})

    def read(self) -> dict[str, Candidate]:
        found = candidates.read(self.cells, self.folder, WORKLOAD, self.truth)
        return {one.cell.recipe: one for one in found}


def test_a_candidate_is_what_its_looks_say(tmp_path: Path) -> None:
    found = Found(tmp_path)
    found.look("quantize:int8", 700)
    # The target is 92.26 %: a few wrong answers too many on all samples, and certainly too many.
    found.look("cluster:4", 780)
    found.look("prune:0.5", 2000)
    found.look("quantize:float16", 690, arithmetic={"float32 on CPU": 9})
    found.cells.append(of("prune:0.1"))
    states = {recipe: one.state for recipe, one in found.read().items()}
    assert states == {
        "": OPEN,
        "quantize:int8": OPEN,
        "cluster:4": NEAR,
        "prune:0.5": BELOW,
        "quantize:float16": EMULATED,
        "prune:0.1": UNSEEN,
    }


def test_what_a_part_of_the_samples_cannot_tell_stays(tmp_path: Path) -> None:
    found = Found(tmp_path)
    found.keep(REFERENCE, 0, 10_000, None)
    # 1.2 points are lost, where 0.93 are allowed; and 10.
    found.look("prune:0.1", 6, samples=500)
    found.look("prune:0.3", 50, samples=500)
    states = {recipe: one.state for recipe, one in found.read().items()}
    assert states == {"": OPEN, "prune:0.1": OPEN, "prune:0.3": BELOW}


def test_a_look_that_time_cut_short_goes_on_with_a_larger_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the reference too, beside which others have answered all that it had; who was dismissed is not asked again."""
    found = Found(tmp_path)
    for recipe, samples, ended_by in (
        ("", 2000, looks.TIME),
        ("prune:0.1", 2000, looks.ALL),
        ("prune:0.2", 500, looks.TIME),
        ("prune:0.5", 500, looks.CERTAIN),
    ):
        cell = of(recipe)
        found.cells += [] if cell in found.cells else [cell]
        found.keep(cell, 300 if ended_by == looks.CERTAIN else 30, samples, None if recipe == "" else INT8)
        record = shelf.recorded(tmp_path, shelf.LOOKS, cell.id)
        shelf.keep(tmp_path, shelf.LOOKS, cell.id, {**(record or {}), "ended_by": ended_by})
    asked: list[str] = []

    def look(search: best.Search, cell: Cell, *given: Any) -> dict[str, Any]:
        asked.append(cell.recipe)
        # This time as well it was too little for one of them.
        samples = 500 if cell.recipe == "prune:0.1" else 10_000
        answers = found.truth[found.order][:samples].tolist()
        return {"answers": answers, "arithmetic": INT8, "ended_by": looks.ALL, "serving": {}, "variant": {"id": "1"}}

    monkeypatch.setattr(best, "_look", look)
    search, places = best.Search(tuple(found.cells), 0.35, 0.03), contests.Places(tmp_path, tmp_path, lambda _: "")
    best._look_at_all(search, places, Clock(tmp_path, "best", 0.0))
    assert asked == []
    best._look_at_all(search, places, Clock(tmp_path, "best", 1e4))
    assert asked == ["", "prune:0.1", "prune:0.2"]
    totals = {recipe: one.outcomes.total for recipe, one in found.read().items() if one.outcomes}
    assert totals == {"": 10_000, "prune:0.1": 2000, "prune:0.2": 10_000, "prune:0.5": 500}


def test_blocks_of_all_rounds_are_one_pace_and_a_failure_ends_them(tmp_path: Path) -> None:
    found = Found(tmp_path)
    fast, broken = found.look("quantize:int8", 700), found.look("cluster:8", 700)
    found.turns(fast, 0, 1.4, 1.6)
    found.turns(fast, 2, 1.5, 1.5)
    found.turns(broken, 0, 1.2, 1.3)
    found.turns(broken, 2, reason="It ended.")
    read = found.read()
    assert read["quantize:int8"].pace and read["quantize:int8"].pace.blocks == 4
    assert read["quantize:int8"].pace.ratio == pytest.approx((1.4 * 1.6 * 1.5 * 1.5) ** 0.25)
    assert (read["cluster:8"].state, read["cluster:8"].reason) == (FAILED, "It ended.")
    shelf.forget_failures(tmp_path, tuple(found.cells))
    assert found.read()["cluster:8"].state == OPEN


def test_answers_that_the_reference_never_gave_are_refused(tmp_path: Path) -> None:
    found = Found(tmp_path)
    found.look("quantize:int8", 700)
    found.keep(REFERENCE, 0, 500, None)
    with pytest.raises(UsageError, match="10000 answers, of which the reference has 500. Delete it"):
        found.read()


def candidate(
    recipe: str, state: str, lost: int = 0, pace: Pace | None = None, counts: bool | None = None
) -> Candidate:
    outcomes = Outcomes(9319 - lost, lost, 0, 681, lost)
    checks = [{"name": "same-answers", "passed": counts, "detail": "they are not"}]
    verdict = {"counts": counts, "checks": checks, "metric": {"value": 14_000.0, "unit": "samples/s"}, "closing": "so"}
    return Candidate(
        cell=of(recipe),
        state=state,
        outcomes=None if state == UNSEEN else outcomes,
        certificate=None if state == UNSEEN else certify(outcomes, 0.0093),
        pace=pace,
        verdict=None if counts is None else {"state": "judged", "result": "results/x", "verdict": verdict},
    )


BASE = candidate("", OPEN, pace=REFERENCE_PACE)
FAST, TIED, SLOW = Pace(1.2, 1.1, 1.3, 8), Pace(1.12, 1.05, 1.19, 8), Pace(0.5, 0.4, 0.6, 2)


def told(*found: Candidate) -> tuple[str, dict[str, Any]]:
    text = best_report.markdown(found, WORKLOAD.target, ["Machine: one."])
    return text, json.loads(json.dumps(best_report.record(found, WORKLOAD.target, {"budget_s": 1.0})))


def test_the_winner_is_told_with_all_that_it_rests_on() -> None:
    text, record = told(
        BASE,
        candidate("prune:0.5", BELOW, 900),
        candidate("cluster:4", NEAR, 95, TIED),
        candidate("quantize:int8", OPEN, 20, FAST, counts=True),
        candidate("cluster:8", OPEN, 10, TIED),
        candidate("fuse:level=off", OPEN, 0, SLOW),
        candidate("prune:0.1", OPEN),
        candidate("prune:0.2", UNSEEN),
    )
    assert (
        "- Use `quantize:int8`: 1.20 times the reference, 95 % 1.10 to 1.30 of 8 blocks, 92.99 % top-1 of 10,000 "
        "samples (-0.20 points, -0.30 to -0.11), certified; target 92.26 %." in text
    )
    assert "through LoadGen: 14,000.0 samples/s, so. Evidence: results/x" in text
    assert "May be faster than it, and had no full runs, for lack of time: `cluster:8` (1.12, 1.05 to 1.19)." in text
    assert "Near miss: `cluster:4` (1.12, 1.05 to 1.19), 0.02 points below the target, 92.24 % top-1" in text
    assert (
        "Not looked at, for lack of time: `prune:0.2`." in text and "Not timed, for lack of time: `prune:0.1`" in text
    )
    outcomes = {one["cell"]["recipe"]: one["outcome"] for one in record["candidates"]}
    assert outcomes == {
        "": "needed no full runs",
        "prune:0.5": "misses its target, certain after 10,000 samples",
        "cluster:4": "near miss",
        "quantize:int8": "counts: the fastest",
        "cluster:8": "no full runs, for lack of time",
        "fuse:level=off": "certainly slower than the reference",
        "prune:0.1": "not timed, for lack of time",
        "prune:0.2": "not looked at, for lack of time",
    }
    assert record["winner"] == "quantize:int8" and not record["reference_is_the_answer"]
    assert all(f"| `{recipe or 'reference'}` " in text for recipe in outcomes)


def test_where_nothing_faster_counts_the_reference_is_the_answer() -> None:
    text, record = told(
        replace(BASE, verdict=candidate("", OPEN, counts=True).verdict),
        candidate("quantize:int8", OPEN, 20, FAST, counts=False),
        candidate("fuse:level=basic", OPEN, 0, Pace(1.0, 0.9, 1.1, 8), counts=True),
    )
    assert "Nothing that was found to count is surely faster than the reference: use the reference." in text
    assert "Full runs of `reference` through LoadGen: 14,000.0 samples/s" in text
    assert "May be faster than the reference, and counts too: `fuse:level=basic` (1.00, 0.90 to 1.10)." in text
    assert "refused: same-answers: they are not" in text
    assert record["winner"] is None and record["reference_is_the_answer"]
