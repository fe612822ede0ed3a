"""A study's plan: what it covers, and one sentence for what it cannot."""

from pathlib import Path

import pytest

from common.errors import UsageError
from common.files import digest_of
from suite import plugins, recipes
from tools.study.best import search_of
from tools.study.contests import Places, plan_of
from tools.study.plan import (
    DETECTION,
    END_TO_END,
    QUICK,
    QUICK_DETECTION,
    RECIPES,
    TELLING,
    TORCH,
    Cell,
    beginnings,
    cells_of,
    default,
    read,
)

pytestmark = pytest.mark.side_by_side


def plan(folder: Path, text: str) -> Path:
    path = folder / "plan.toml"
    path.write_text(text)
    return path


def test_each_workload_has_its_reference_first() -> None:
    cells = cells_of(["all"], ["onnxruntime"], ["offline"], ["prune:sparsity=0.5", "prune:0.5", ""])
    assert [(cell.workload, cell.recipe) for cell in cells] == [
        (workload, recipe) for workload in plugins.names("reference_models") for recipe in ("", "prune:0.5")
    ]
    assert cells[1].reference == cells[0]


def test_a_chain_comes_behind_the_steps_that_it_begins_with() -> None:
    cells = cells_of(["fashion-resnet"], ["onnxruntime"], ["server"], ["prune:0.1+cluster:8+quantize:int8"])
    assert [(cell.scenario, cell.recipe) for cell in cells] == [
        ("server", recipe) for recipe in ("", "prune:0.1", "prune:0.1+cluster:8", "prune:0.1+cluster:8+quantize:int8")
    ]


def test_repetitions_are_the_whole_matrix_again(tmp_path: Path) -> None:
    study = read(plan(tmp_path, 'workloads = ["fashion-resnet"]\nrecipes = ["cluster:4"]\nrepetitions = 3\n'))
    assert [(cell.repetition, cell.recipe) for cell in study.cells] == [
        (repetition, recipe) for repetition in (1, 2, 3) for recipe in ("", "cluster:4")
    ]
    last = study.cells[-1]
    assert (last.first, last.reference) == (study.cells[1], study.cells[4])
    assert len({cell.id for cell in study.cells}) == 6
    with pytest.raises(UsageError, match="leave repetitions out"):
        search_of(study)


def test_end_to_end_is_another_setting_with_a_reference_of_its_own(tmp_path: Path) -> None:
    text = 'workloads = ["fashion-resnet"]\nrecipes = ["cluster:4"]\n'
    decoded, whole = read(plan(tmp_path, text)).cells, read(plan(tmp_path, text + "end_to_end = true\n")).cells
    assert not {cell.id for cell in decoded} & {cell.id for cell in whole}
    assert whole[1].reference == whole[0] and whole[0].setting == "onnxruntime, offline, end to end"
    assert decoded[0].setting == "onnxruntime, offline"
    places = Places(tmp_path, tmp_path, lambda dataset: str(tmp_path))
    for cells, expected in ((decoded, False), (whole, True)):
        assert all(plan_of(cell, "accuracy", places).requested.end_to_end is expected for cell in cells)
    quick = default(["fashion-resnet"], quick=True, end_to_end=True).cells
    assert all(cell.end_to_end for cell in quick)
    assert [cell.recipe for cell in quick[1:]] == [
        recipes.canonical(recipes.parse(one)) for one in (*QUICK, *END_TO_END)
    ]


def test_the_recipes_of_its_own_are_many_and_all_are_written_as_they_are_kept() -> None:
    assert len(RECIPES) >= 25 and set(QUICK) <= set(RECIPES)
    for recipe in RECIPES:
        recipes.parse(recipe)
    whole = default(["all"], quick=False).cells
    assert {(cell.backend, cell.scenario) for cell in whole} == {
        ("onnxruntime", "offline"),
        ("onnxruntime", "server"),
        ("torch", "offline"),
    }
    assert len(whole) == len(set(whole))
    # A budget that ends early takes from the sweeps, and not from what tells most.
    assert set(TELLING) <= set(RECIPES) and len(TELLING) == 10 and set(TELLING) <= set(TORCH)
    for workload in plugins.names("reference_models"):
        own = [cell for cell in whole if cell.workload == workload]
        both = [{cell.recipe for cell in own if cell.backend == "torch"}]
        both.append({cell.recipe for cell in own if cell.scenario == "server"})
        # Beside the reference.
        assert set.intersection(*both) - set(DETECTION) == {"", *TELLING}
        detects = plugins.workload(workload).steps is not None
        assert bool({cell.recipe for cell in own} & set(DETECTION)) is detects
        short = {cell.recipe for cell in default([workload], quick=True).cells}
        assert short == {"", *(QUICK_DETECTION if detects else QUICK)}
    assert len(QUICK_DETECTION) == len(QUICK)
    known = {"", *TELLING, *TORCH, *(begin for one in DETECTION for begin in beginnings(one))}
    sweeps = [number for number, cell in enumerate(whole) if cell.recipe not in known]
    telling = [number for number, cell in enumerate(whole) if cell.recipe in TELLING or cell.backend == "torch"]
    assert max(telling) < min(sweeps)
    assert {cell.backend for cell in default(["all"], quick=True).cells} == {"onnxruntime"}


def test_a_recipe_that_asks_for_a_serving_is_a_cell_like_any_other() -> None:
    found = cells_of(["fashion-resnet"], ["onnxruntime"], ["offline"], ["batch:4", "prune:0.5+parallel:sessions=2"])
    assert [cell.recipe for cell in found] == ["", "batch:4", "prune:0.5", "prune:0.5+parallel:2"]


def test_a_cell_is_named_by_what_it_is() -> None:
    cell = Cell("fashion-resnet", "onnxruntime", "offline", "prune:0.5")
    assert cell.id == Cell("fashion-resnet", "onnxruntime", "offline", "prune:0.5").id != cell.reference.id
    # As in studies of before there was more to a cell, which may be merged with new ones.
    assert (
        cell.id
        == digest_of(
            {"workload": cell.workload, "backend": cell.backend, "scenario": cell.scenario, "recipe": cell.recipe}
        )[:16]
    )


def test_a_plan_is_read(tmp_path: Path) -> None:
    study = read(
        plan(tmp_path, 'workloads = ["fashion_resnet"]\nrecipes = ["cluster:4"]\nseconds = 1\nmost_blocks = 20\n')
    )
    assert [cell.recipe for cell in study.cells] == ["", "cluster:4"]
    assert (study.seconds, study.most_blocks) == (1, 20)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('workload = ["fashion-resnet"]', "Did you mean 'workloads'?"),
        ('workloads = ["fashion-resnt"]', "Did you mean 'fashion-resnet'?"),
        ('backends = ["onnx"]', "Unknown backend 'onnx'"),
        ('recipes = ["prune:2"]', "sparsity of prune cannot be '2'"),
        ('recipes = "prune:0.5"', "must be a list of names"),
        ("recipes = []", "must be a list of names"),
        ("repetitions = 0", "must be from 1 to 100"),
        ("end_to_end = 1", "must be true or false, not 1"),
        ("seconds = true", "must be a number, not True"),
        ("verdicts = 1.5", "must be a whole number, not 1.5"),
        ("seconds = 1000", "must be from 0.1 to 60"),
        ("seconds = nan", "must be from 0.1 to 60"),
        ("least_blocks = 9", "9 blocks at least and 6 at most"),
        ("seconds =", "is no TOML"),
    ],
)
def test_what_a_plan_cannot_say_is_refused_in_a_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(plan(tmp_path, text))
    assert sentence in str(caught.value) and "\n" not in str(caught.value)


def test_a_plan_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        read(tmp_path / "none.toml")


def test_no_workload_at_all_is_refused() -> None:
    with pytest.raises(
        UsageError, match=r"--workloads names none\. Give one or more of: fashion-fcos, fashion-mobilenet, f"
    ):
        cells_of([], ["onnxruntime"], ["offline"], ["prune:0.1"])
