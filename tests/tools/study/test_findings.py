"""What is made of a study's files: states, rankings, inversions, and pages that escape what they show."""

import csv
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from accuracy_scripts.paired import CERTIFIED
from common.errors import RunFailed, UsageError
from common.statistics import holm
from suite.probes.contest import Terms
from tests.tools.study.made import MOBILENET, RESNET, Made, data_dir, of, two_blocks
from tools.study import conduct, ledger, page, picture, ranking, report, shelf, table
from tools.study.chain import chains
from tools.study.contests import Places
from tools.study.details import WORTH, details
from tools.study.findings import COUNTS, EMULATED, FAILED, INVALID, LEFT_OUT, MISSES, REFUSED, UNJUDGED, Row
from tools.study.plan import Cell, Study
from tools.study.words import unlinked

pytestmark = pytest.mark.side_by_side

INT8 = {"uint8 x int8 on CPU": 9}


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """Returns a study of two workloads: the fastest misses its target on one of them and meets it on the other."""
    study = Made(tmp_path)
    for reference, wrong in ((RESNET, 660), (MOBILENET, 1700)):
        study.add(reference, 1.0, 650)
        study.add(of(reference, "quantize:int8"), 2.0, wrong, INT8)
        study.add(of(reference, "prune:0.1"), 1.1, 655)
        study.add(of(reference, "quantize:float16"), 1.5, 650, {"float32 on CPU": 9})
    study.fail(of(RESNET, "fuse:compile"), "there is no | compiler <here>")
    for cell in (RESNET, of(RESNET, "quantize:int8"), MOBILENET):
        study.judge(cell, True)
    return study


def drawn(rows: list[Row]) -> dict[str, str]:
    groups = ranking.groups(rows)
    found = {report.picture(title): picture.draw(own, title) for title, own in groups}
    found |= {report.picture(title, chains=True): picture.waterfall(own, title) for title, own in groups}
    return {name: one["svg"].decode() for name, one in found.items() if one}


def states(rows: list[Row]) -> dict[tuple[str, str], str]:
    return {(row.cell.workload, row.cell.recipe): row.state for row in rows}


def test_each_row_says_what_its_throughput_is_worth(made: Made) -> None:
    found = states(made.rows())
    assert found["fashion-resnet", "quantize:int8"] == COUNTS
    assert found["fashion-mobilenet", "quantize:int8"] == MISSES
    assert found["fashion-resnet", "quantize:float16"] == EMULATED
    assert found["fashion-resnet", "prune:0.1"] == UNJUDGED
    assert found["fashion-resnet", "fuse:compile"] == FAILED


def test_what_emulates_is_worth_no_throughput_whatever_its_accuracy(made: Made) -> None:
    for reference, wrong in ((RESNET, 640), (MOBILENET, 9000)):
        made.add(of(reference, "prune:0.1+emulate:int8"), 0.0, wrong, {"float32 on CPU": 9})
    rows = {row.cell.workload: row for row in made.rows() if "emulate" in row.cell.recipe}
    assert {(row.state, row.valid_ratio) for row in rows.values()} == {(EMULATED, 0.0)}
    assert rows["fashion-mobilenet"].accuracy == 10.0
    # It has no throughput of its own, and is in no ranking, in no chain and in no full run.
    assert {row.ratio for row in rows.values()} == {0.0} and not chains(made.rows())
    assert not any("emulate" in row.cell.recipe for row in ranking.ranked(made.rows()))
    assert "| `prune:0.1+emulate:int8` | none of its own |  | [93.60](cells/" in report.markdown(made.rows(), [])
    chosen = conduct.to_judge(Study(tuple(made.cells), verdicts=9), made.folder)
    assert not any("emulate" in cell.recipe for cell in chosen)


def test_full_runs_that_do_not_count_are_worth_nothing_whatever_was_measured(made: Made) -> None:
    made.judge(of(RESNET, "quantize:int8"), False)
    row = next(row for row in made.rows() if row.cell == of(RESNET, "quantize:int8"))
    assert (row.state, row.valid_ratio, row.certified_ratio) == (REFUSED, 0.0, 0.0)
    assert row.reason == "complete: as it was"


def test_full_runs_that_are_not_valid_count_nowhere_and_are_no_finding_about_the_variant(made: Made) -> None:
    cell = of(RESNET, "quantize:int8")
    made.judge(cell, False, "valid", "LoadGen says INVALID: Reduce target QPS")
    rows = made.rows()
    row = next(row for row in rows if row.cell == cell)
    assert (row.state, row.valid_ratio, row.certified_ratio) == (INVALID, 0.0, 0.0)
    assert row.reason == "valid: LoadGen says INVALID: Reduce target QPS"
    assert not any(pair.faster is row for pair in ranking.inversions(rows))
    told = unlinked(report.markdown(rows, []))
    assert "worth nothing: `quantize:int8`" not in next(
        line for line in told.splitlines() if "fashion-resnet on" in line
    )
    assert "- Full runs not valid (--retry-failed makes them again): `quantize:int8` on fashion-resnet" in told
    # They are made again when that is asked for, and what was refused for what it answers is not.
    shelf.forget_failures(made.folder, tuple(made.cells))
    assert shelf.verdict(made.folder, cell) is None
    made.judge(cell, False)
    shelf.forget_failures(made.folder, tuple(made.cells))
    assert shelf.verdict(made.folder, cell) is not None


def test_what_is_faster_and_worth_nothing_is_named_beside_what_it_would_beat(made: Made) -> None:
    own = [row for row in made.rows() if row.cell.workload == "fashion-mobilenet"]
    pairs = {(one.faster.cell.title, one.better.cell.title) for one in ranking.inversions(own)}
    assert pairs == {
        (faster, slower) for faster in ("quantize:int8", "quantize:float16") for slower in ("prune:0.1", "reference")
    }


def test_what_cannot_be_told_apart_is_not_called_inverted(made: Made) -> None:
    made.add(of(MOBILENET, "prune:0.9"), 1.101, 8000)
    made.add(of(MOBILENET, "prune:0.7"), 1.4, 5000)
    own = [row for row in made.rows() if row.cell.workload == "fashion-mobilenet"]
    pairs = {(one.faster.cell.title, one.better.cell.title) for one in ranking.inversions(own)}
    assert ("prune:0.9", "prune:0.1") not in pairs and ("prune:0.7", "prune:0.1") in pairs


def test_what_is_slower_than_the_reference_is_no_pity_to_beat(made: Made) -> None:
    made.add(of(MOBILENET, "fuse:level=off"), 0.4, 650)
    own = [row for row in made.rows() if row.cell.workload == "fashion-mobilenet"]
    assert "fuse:level=off" in {pair.better.cell.title for pair in ranking.inversions(own)}
    lines = [unlinked(line) for line in report.inverted(own)]
    said = "`quantize:int8` (2.00 times) is worth nothing (misses its target, -10.50 points from the reference), and "
    assert f"{said}surely faster than `prune:0.1` (1.82 times), `reference` (2.00 times)." in lines
    # The table has all of them.
    lines_of = {
        (line["workload"], line["recipe"]): line for line in csv.DictReader(io.StringIO(table.table(made.rows())))
    }
    assert lines_of["fashion-mobilenet", "quantize:int8"]["inverted_with"] == "prune:0.1; reference; fuse:level=off"
    assert lines_of["fashion-resnet", "quantize:int8"]["inverted_with"] == ""
    slow = [row for row in own if row.cell.recipe in ("", "fuse:level=off")]
    assert report.inverted(slow)[0].startswith("No inversion: ")


def test_of_equally_fast_ones_the_most_accurate_is_recommended(made: Made) -> None:
    made.add(of(RESNET, "quantize:int8,range=reduced"), 1.99, 640, INT8)
    made.judge(of(RESNET, "quantize:int8,range=reduced"), True)
    made.add(of(RESNET, "cluster:8"), 1.2, 600)
    made.judge(of(RESNET, "cluster:8"), True)
    own = [row for row in made.rows() if row.cell.workload == "fashion-resnet"]
    assert [row.cell.recipe for row in ranking.recommended(own)] == ["quantize:int8,range=reduced", "quantize:int8"]
    assert ranking.recommended([row for row in own if row.cell.recipe == ""]) == []


def test_a_recipe_that_is_safe_here_and_ruinous_there_is_the_headline(made: Made) -> None:
    ((backend, recipe, safe, ruinous),) = ranking.treacherous(made.rows())
    assert (backend, recipe) == ("onnxruntime", "quantize:int8")
    assert [row.cell.workload for row in safe] == ["fashion-resnet"]
    assert [row.cell.workload for row in ruinous] == ["fashion-mobilenet"]


def test_what_was_left_out_for_lack_of_time_is_no_finding(made: Made) -> None:
    """What no time was left for meets no target, hides nothing that was measured, and is named."""
    server = Cell(MOBILENET.workload, "onnxruntime", "server", "")
    made.cells += [of(RESNET, "cluster:4"), server, of(server, "quantize:int8")]
    made.add(of(MOBILENET, "cluster:4"), 1.0, 9000)
    rows = made.rows()
    assert [row.cell for row in rows if row.state == LEFT_OUT] == made.cells[-4:-1]
    assert [recipe for _, recipe, _, _ in ranking.treacherous(rows)] == ["quantize:int8"]
    text = report.markdown(rows, [])
    assert "- **fashion-mobilenet on onnxruntime, server**: not measured, for lack of time." in text
    assert "## fashion-mobilenet on onnxruntime, server" not in text
    left = "`cluster:4` on fashion-resnet, onnxruntime, offline, `reference` on fashion-mobilenet, onnxruntime, server"
    assert (
        f"- Not measured, for lack of time: {left}, `quantize:int8` on fashion-mobilenet, onnxruntime, server." in text
    )
    assert len(table.table(rows).splitlines()) == 1 + len(made.cells)
    pictures = drawn(rows)
    assert len(pictures) == 2 and "not measured, for lack of time" in page.page(rows, [], pictures)


def test_what_time_was_lacking_to_time_is_told_by_its_answers(made: Made) -> None:
    cell = of(RESNET, "cluster:4")
    made.add(cell, 0.0, 1200, timed=False)
    made.add(of(RESNET, "emulate:int4"), 0.0, 1200, timed=False)
    row = next(row for row in made.rows() if row.cell == cell)
    assert (row.state, row.accuracy, row.ratio, row.ends, row.untimed) == (MISSES, 88.0, 0.0, None, True)
    assert [row.cell for row in made.rows() if row.untimed] == [cell]
    text = report.markdown(made.rows(), [])
    assert "| `cluster:4` | not measured |  | [88.00](answers/" in text and (made.folder / row.record).exists()
    left = "- The accuracy alone, for lack of time: `cluster:4` on fashion-resnet, onnxruntime, offline."
    assert left in unlinked(text)
    made.time(cell, 1.0)
    assert not any(row.untimed for row in made.rows())


def test_who_took_no_turns_gets_no_full_runs(made: Made) -> None:
    cell = of(RESNET, "cluster:8")
    made.add(cell, 0.0, 650, timed=False)
    study = Study(tuple(made.cells), verdicts=9)
    assert cell not in conduct.to_judge(study, made.folder)
    made.time(cell, 1.0)
    assert cell in conduct.to_judge(study, made.folder)


def test_where_turns_failed_the_answers_stay(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the reference too, beside which others are measured."""
    reference = replace(RESNET, scenario="server")
    for one in (reference, replace(reference, recipe="cluster:8")):
        made.add(one, 0.0, 650, timed=False)

    def fail(cell: Cell, served: Any, terms: Terms, *_: Any) -> list[dict[str, Any]]:
        if cell == reference:
            raise RunFailed("It was killed.")
        assert (terms.seconds, terms.least_blocks) == (0.5, 3)
        return two_blocks(1.5)

    monkeypatch.setattr(conduct, "turns", fail)
    places = Places(made.folder, made.folder, data_dir)
    study = Study(tuple(made.cells), seconds=0.5, least_blocks=3)
    for one in made.cells[-2:]:
        conduct._time(study, one, shelf.answered(made.folder, one) or {}, places)
    failed, row = made.rows()[-2:]
    assert (failed.state, failed.reason, failed.accuracy, failed.untimed) == (FAILED, "It was killed.", 93.5, False)
    assert (row.state, row.accuracy, row.ratio) == (UNJUDGED, 93.5, pytest.approx(1.5, rel=0.01))
    record = shelf.measured(made.folder, row.cell)
    assert record and (record["seconds"], record["first_blocks"]) == (0.5, 3)
    assert "| `reference` | not measured |  | [93.50](cells/" in report.markdown(made.rows(), [])
    # What took turns beside it gets its full runs, and so does the reference.
    assert list(conduct.to_judge(study, made.folder))[-2:] == [reference, row.cell]
    shelf.forget_failures(made.folder, tuple(made.cells))
    assert next(row for row in made.rows() if row.cell == reference).untimed


def test_where_nothing_is_timed_yet_the_report_says_so(tmp_path: Path) -> None:
    made = Made(tmp_path)
    made.add(RESNET, 0.0, 663, timed=False)
    made.add(of(RESNET, "prune:0.1"), 0.0, 650, timed=False)
    rows = made.rows()
    text = report.markdown(rows, [])
    assert "Nothing was timed." in text and "0.00 times" not in text
    assert "- **fashion-resnet on onnxruntime, offline**: no throughput was measured." in text
    assert len(drawn(rows)) == 1 and list(conduct.to_judge(Study(tuple(made.cells)), tmp_path)) == []


def test_without_its_reference_a_row_is_not_measured(made: Made) -> None:
    for kind in (shelf.ANSWERS, shelf.CELLS):
        (made.folder / kind / f"{RESNET.id}.json").unlink()
    found = states(made.rows())
    assert found["fashion-resnet", "prune:0.1"] == LEFT_OUT and found["fashion-mobilenet", "prune:0.1"] == UNJUDGED


def test_what_varies_over_repetitions_is_their_own_ratios(made: Made) -> None:
    """Blocks of one process are alike, and the next process may be another: its interval says so."""
    cell = of(RESNET, "cluster:8")
    made.add(cell, 1.2, 700)
    once = next(row for row in made.rows() if row.cell == cell)
    made.add(replace(RESNET, repetition=2), 1.0, 663)
    made.add(replace(cell, repetition=2), 1.3, 703)
    made.cells += [replace(RESNET, repetition=3), replace(cell, repetition=3)]
    (row,) = (row for row in made.rows() if row.cell.recipe == "cluster:8")
    assert once.ends and row.ends and (row.processes, row.blocks, row.missing) == (2, 4, (3,))
    assert row.ratio == pytest.approx((1.2 * 1.3) ** 0.5, rel=0.01)
    assert row.ends[1] / row.ends[0] > 2 * once.ends[1] / once.ends[0]
    assert row.accuracy == 93.0 and "repetition 2 answered 3 samples otherwise than the first" in row.notes
    text = unlinked(report.markdown(made.rows(), []))
    assert (
        "Repetitions that are missing: " in text and "`cluster:8` on fashion-resnet, onnxruntime, offline (3)" in text
    )


def test_a_repetition_that_failed_leaves_the_others(made: Made) -> None:
    cell = of(RESNET, "cluster:8")
    made.fail(cell, "no room")
    made.add(replace(RESNET, repetition=2), 1.0, 663)
    made.add(replace(cell, repetition=2), 1.3, 703)
    (row,) = (row for row in made.rows() if row.cell == cell)
    assert (row.state, row.processes, row.missing) == (UNJUDGED, 1, (1,))
    assert row.record.endswith(f"{replace(cell, repetition=2).id}.json") and "repetition 1 failed: no room" in row.notes


def test_nothing_on_the_front_is_beaten_in_both(made: Made) -> None:
    own = [row for row in made.rows() if row.cell.workload == "fashion-mobilenet"]
    assert [row.cell.title for row in ranking.pareto(own)] == ["quantize:int8", "quantize:float16"]


def test_a_certified_throughput_is_the_lower_end_of_what_is_certified(made: Made) -> None:
    row = next(row for row in made.rows() if row.cell == of(RESNET, "quantize:int8"))
    assert row.ends and row.certified_ratio == row.ends[0] < row.ratio


def test_what_changed_is_told_by_the_references_confidence(made: Made) -> None:
    row = next(row for row in made.rows() if row.cell == of(MOBILENET, "quantize:int8"))
    assert row.outcomes and row.outcomes.changed == 1050
    assert [one.outcomes.changed for one in row.unsure] == [1050, 0, 0, 0, 0]
    assert row.unsure[0].low < row.unsure[0].outcomes.difference == -1050 / 2000 < row.unsure[0].high
    assert row.changes_with_batch == 0.002


def test_a_chains_steps_are_each_held_against_what_was_before(made: Made) -> None:
    made.add(of(MOBILENET, "prune:0.1+quantize:int8"), 2.2, 1655, INT8)
    own = [row for row in made.rows() if row.cell.workload == "fashion-mobilenet"]
    ((row, steps),) = chains(own)
    assert row.cell.recipe == "prune:0.1+quantize:int8"
    assert [one.step for one in steps] == ["prune:0.1", "quantize:int8"]
    assert [one.ratio for one in steps] == pytest.approx([1.1, 2.0], rel=0.01)
    assert [one.outcomes.difference for one in steps] == pytest.approx([-0.0005, -0.1])
    (first, last), (low, high) = (one.ends or (0.0, 0.0) for one in steps)
    # The quotient of two uncertain ratios is less certain than either.
    assert low < steps[1].ratio < high and high / low > last / first
    text = unlinked(report.markdown(made.rows(), []))
    assert "| `prune:0.1+quantize:int8` | `prune:0.1` | 1.1" in text and "|  | `quantize:int8` | 2.0" in text
    name = "fashion-mobilenet-onnxruntime-offline-chains"
    assert f"({name}.svg)" in text and text.count("-chains.svg") == 1
    pictures = drawn(made.rows())
    assert len(pictures) == 3 and "+ quantize:int8" in pictures[name]
    assert pictures[name][pictures[name].index("<svg") :] in page.page(made.rows(), [], pictures)


def test_what_disturbed_a_row_is_told(made: Made) -> None:
    assert [row.cell.workload for row in made.rows() if row.notes] == ["fashion-resnet", "fashion-mobilenet"]
    row = next(row for row in made.rows() if row.notes)
    assert [note.partition(";")[0] for note in row.notes] == [
        "other programs kept 1.5 of 2 cores busy during its blocks"
    ]
    said = f"- To doubt: `prune:0.1` on fashion-resnet, onnxruntime, offline: {row.notes[0]}"
    assert said in unlinked(report.markdown(made.rows(), []))


def test_the_p_values_hold_together(made: Made) -> None:
    rows = [row for row in made.rows() if row.outcomes and row.cell.recipe]
    assert all(row.p_holm >= row.outcomes.p_value for row in rows if row.outcomes)
    assert min(row.p_holm for row in rows) < 1e-6
    known = [(row.outcomes, row.certificate) for row in rows if row.outcomes and row.certificate]
    together = holm([outcomes.margin_p_value(certificate.margin) for outcomes, certificate in known])
    assert [row.certificate_p_holm for row in rows] == together


def test_how_a_group_was_served_stands_in_the_report(made: Made) -> None:
    line = (
        "Served by 2 sessions of 1 thread, batches of up to 64, except for what a recipe asks itself: all throughputs"
    )
    rows = made.rows()
    assert report.markdown(rows, []).count(f"- {line}") == len(ranking.groups(rows)) > 1
    assert line in page.page(rows, [], {report.picture(title): "<svg/>" for title, _ in ranking.groups(rows)})


def test_what_is_certified_by_itself_alone_says_so(made: Made) -> None:
    certified = [row for row in made.rows() if row.certificate and row.certificate.outcome == CERTIFIED]
    row = next(row for row in certified if row.cell.recipe)
    for p, words in ((0.2, "certified, by itself: below 0.9"), (0.001, "certified: below 0.9")):
        tables = details([replace(row, certificate_p_holm=p)])
        (loss,) = (line[WORTH.index("loss")] for _, head, lines in tables if head == WORTH for line in lines)
        assert loss.startswith(words)


def test_the_report_begins_with_what_to_use_and_what_lies(made: Made) -> None:
    text = report.markdown(made.rows(), ["Machine: one."])
    head = unlinked(text.partition("\n## ")[0])
    assert "at least its target (fashion-resnet 92.44 %, fashion-mobilenet 92.26 %, 99 % of its float32" in head
    assert "**fashion-resnet on onnxruntime, offline**: use `quantize:int8`: 2.00 times the reference" in head
    assert "**fashion-mobilenet on onnxruntime, offline**: nothing that counts is surely faster" in head
    lies = (
        "Surely faster than the reference, and worth nothing: `quantize:int8` (2.00 times, 83.00 %), `quantize:float16`"
    )
    assert f"nothing that counts is surely faster than the reference. {lies}" in head
    assert (
        "`quantize:int8` on onnxruntime meets the target on fashion-resnet (-0.10 points) and misses it on fashion-mob"
        in head
    )
    assert "(results/x/verdict.json)" in text and "Machine: one." in text
    assert "No full runs: 2 that meet their target; the fastest of each group get them." in text
    tables = [part.splitlines() for part in text.split("\n\n") if part.startswith("|")]
    assert len(tables) == 10 and all(len({line.count("|") for line in lines}) == 1 for lines in tables)


def test_the_page_escapes_what_it_shows_and_needs_no_other_file(made: Made) -> None:
    rows = made.rows()
    text = page.page(rows, ["a <b> & c"], drawn(rows))
    assert "compiler &lt;here&gt;" in text and "a &lt;b&gt; &amp; c" in text
    assert text.count("<svg") == 2 and "src=" not in text and "<script" not in text


def test_the_table_has_a_line_for_each_cell(made: Made) -> None:
    lines = table.table(made.rows()).splitlines()
    assert len(lines) == 1 + len(made.cells)
    assert lines[0].split(",") == list(table.COLUMNS)


def test_the_ledger_has_a_line_for_each_class_and_each_fifth(made: Made) -> None:
    lines = [line.split(",") for line in ledger.ledger(made.rows()).splitlines()]
    assert tuple(lines[0]) == ledger.COLUMNS
    # Eight cells were measured; a tenth of the samples is of each class.
    assert len(lines) == 1 + 8 * 15
    own = [line for line in lines if line[0] == "fashion-mobilenet" and line[3:6] == ["no", "quantize:int8", "class"]]
    assert [line[6] for line in own] == [str(label) for label in range(10)]
    assert sum(int(line[9]) for line in own) == 1050 and {line[7] for line in own} == {"1000"}
    assert all(float(line[14]) <= float(line[13]) <= float(line[15]) for line in own)


def test_every_figure_names_the_file_that_it_is_from(made: Made) -> None:
    cell = of(MOBILENET, "quantize:int8")
    assert "| `quantize:int8` | [2.0" in report.markdown(made.rows(), [])
    text = report.markdown(made.rows(), [])
    assert f"](cells/{cell.id}.json) | " in text and f",cells/{cell.id}.json," in table.table(made.rows())
    # In every table that has a line of it, but for that of the ranks.
    assert text.count(f"| [`quantize:int8`](cells/{cell.id}.json) | ") == 3
    assert f"[`quantize:int8`](cells/{cell.id}.json) (2.00 times, 83.00 %)" in text.partition("\n## ")[0]
    assert f'<td><a href="cells/{cell.id}.json"><code>quantize:int8</code></a></td>' in page.page(
        made.rows(), [], drawn(made.rows())
    )


def test_what_forbids_a_variant_is_told_where_it_is_recommended(made: Made) -> None:
    text = report.markdown(made.rows(), [])
    assert "no full runs; open division alone, as it is pruned |" in text
    assert "; 0.2 % of its answers change with the batch |" in text


def test_what_is_certain_of_a_throughput_is_beside_it(made: Made) -> None:
    text = unlinked(report.markdown(made.rows(), []))
    assert "| `prune:0.1` | not judged | not judged |  | certified: below 0.94 points |" in text
    row = next(row for row in made.rows() if row.cell == of(RESNET, "quantize:int8"))
    assert f"| `quantize:int8` | {row.ratio:.3f} | {row.certified_ratio:.3f} | 6,543 | certified: below 0.94" in text
    line = next(
        line for line in table.table(made.rows()).splitlines() if "resnet" in line and ",quantize:int8," in line
    )
    assert ",6543.0," in line
    assert "| `quantize:int8` | 0 | 0 |  | regression certified: above 0.94 points |" in text
    assert "| `quantize:int8` | 1,050 | 0 | 0 | 2.615 times | " in text


def test_answers_that_are_not_those_of_their_record_are_refused(made: Made) -> None:
    path = made.folder / shelf.CELLS / f"{RESNET.id}.npz"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(UsageError, match="are not those of their record"):
        made.rows()


def test_full_runs_are_for_the_reference_and_the_fastest_that_may_count(made: Made) -> None:
    study = Study(tuple(made.cells), verdicts=1)
    assert [(cell.workload, cell.recipe) for cell in conduct.to_judge(study, made.folder)] == [
        ("fashion-resnet", ""),
        ("fashion-resnet", "quantize:int8"),
        ("fashion-mobilenet", ""),
        # INT8 misses its target, and float16 ran in float32.
        ("fashion-mobilenet", "prune:0.1"),
    ]
