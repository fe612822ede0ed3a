"""Bad input to `suite.run`: one sentence on stderr, exit 2, and nothing written."""

import gzip
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from suite import artifacts, plugins
from tests.suite.commands import FIXED, ROOT, Command, Ended, cache, faulty_run, only_record, start

pytestmark = pytest.mark.side_by_side

NULL = ("--backend=null", *FIXED["offline"], "--target-qps=20000", "--mode=performance")


def outcome(results: Path, *words: str, **more: object) -> Ended:
    """Returns how the command ended; asserts that it left no process."""
    ended = start(f"--results-dir={results}", *words, **more).end(90)
    assert ended.left_behind == []
    return ended


def refusal(results: Path, *words: str, **more: object) -> str:
    """Returns the one sentence of a command that is refused, and has written nothing."""
    ended = outcome(results, *words, **more)
    assert ended.code == 2, ended.stderr
    assert ended.stdout == ""
    assert not results.exists() or list(results.iterdir()) == []
    return ended.sentence


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return tmp_path / "results"


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("--workload=fashion-resent", "Unknown workload 'fashion-resent'. Did you mean 'fashion-resnet'?"),
        ("--backend=onxruntime", "Unknown backend 'onxruntime'. Did you mean 'onnxruntime'?"),
        ("--scenario=singel-stream", "Unknown scenario 'singel-stream'. Did you mean 'single-stream'?"),
        ("--mode=perf", "Unknown mode 'perf'. Did you mean 'performance'?"),
        ("--profile=offical", "Unknown profile 'offical'. Did you mean 'official'?"),
        ("--optimize=fuse:compil", "compil"),
        ("--device=cdua", "Unknown device of the backend onnxruntime here, 'cdua'. Did you mean"),
        ("--device=cuda", "Unknown device of the backend onnxruntime here, 'cuda'."),
        ("--max-batch=0", "--max-batch is 0; it must be from 1 to 1024."),
        ("--max-batch=1025", "--max-batch is 1025; it must be from 1 to 1024."),
        ("--target-qps=0", "--target-qps is 0; it must be from 1e-06 to 1e+09."),
        ("--target-qps=many", "--target-qps must be a number, not 'many'."),
        ("--sessions=0", "--sessions is 0"),
        ("--max-wait-us=5", "--max-wait-us has no effect here (offline, submission): it is for batches in Server."),
        ("--max-btach=4", "Unknown flag --max-btach. Did you mean --max-batch?"),
        ("offline", "'offline' is no flag"),
        ("--backend-options=graph_level=most", "graph_level"),
        ("--backend=tests.zoo.no_such", "module 'tests.zoo.no_such' cannot be imported"),
        ("--backend=tests.zoo.counting", "is no backend: it has no FORMATS"),
        ("--user-conf=/no/such/user.conf", "user.conf: /no/such/user.conf cannot be read"),
    ],
)
def test_a_wrong_word_is_refused(results: Path, word: str, sentence: str) -> None:
    assert sentence in refusal(results, word)


UNINSTALLED = """
from common.errors import UsageError
from suite.backends.null import ELIGIBLE, FORMATS, OPTIONS, load

def version():
    raise UsageError("fastnet is not installed. Run: pip install fastnet")

devices = version
"""

DEVICELESS = """
from common.errors import UsageError
from suite.backends.null import ELIGIBLE, FORMATS, OPTIONS, load, version

def devices():
    raise UsageError("fastnet finds no accelerator here.")
"""


@pytest.mark.parametrize(
    ("source", "sentence"),
    [(UNINSTALLED, "Run: pip install fastnet"), (DEVICELESS, "fastnet finds no accelerator here.")],
)
def test_a_backend_that_cannot_be_used_says_why(results: Path, tmp_path: Path, source: str, sentence: str) -> None:
    (tmp_path / "vendor").mkdir()
    (tmp_path / "vendor" / "fastnet.py").write_text(source)
    path = {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    assert sentence in refusal(results, "--backend=vendor.fastnet", environment=path)


def test_a_data_directory_without_the_files_is_refused(results: Path, tmp_path: Path) -> None:
    sentence = refusal(results, f"--data-dir={tmp_path}")
    assert str(tmp_path) in sentence and "python -m tools.fetch_data fashion-mnist" in sentence


def test_a_corrupt_data_file_is_refused_with_both_hashes(results: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(cache() / "data" / "fashion-mnist", data)
    path = data / "t10k-labels-idx1-ubyte.gz"
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[100] ^= 1
    path.write_bytes(gzip.compress(bytes(content)))
    sentence = refusal(results, f"--data-dir={data}")
    assert f"{path} is corrupt: expected SHA-256 0402a96d" in sentence and ", found " in sentence


@pytest.fixture
def own_cache(tmp_path: Path) -> Path:
    """Returns a cache of the test's own, with an artifact that may be damaged."""
    own = tmp_path / "cache"
    own.mkdir()
    (own / "data").symlink_to(cache() / "data")
    # What another process is exporting meanwhile begins with a dot.
    shutil.copytree(_artifacts(), own / "artifacts", ignore=shutil.ignore_patterns(".*"))
    return own


def _artifacts() -> Path:
    """Returns the folder of artifacts, in which that of the default workload is."""
    workload = plugins.workload("fashion-resnet")
    artifacts.prepare(workload, ("onnx",), cache() / "data" / workload.dataset_name, cache())
    return cache() / "artifacts"


@pytest.mark.parametrize("damage", ["model", "card", "foreign"])
def test_a_corrupt_or_foreign_artifact_is_refused(results: Path, own_cache: Path, damage: str) -> None:
    for folder in (own_cache / "artifacts").iterdir():
        card = next(folder.glob("*.json"))
        if damage == "model":
            model = next(folder.glob("model.*"))
            content = bytearray(model.read_bytes())
            content[len(content) // 2] ^= 1
            model.write_bytes(content)
        elif damage == "card":
            card.write_text("{")
        else:
            card.write_text(json.dumps({**json.loads(card.read_text()), "key": "0" * 64}))
    sentence = refusal(results, f"--cache-dir={own_cache}")
    assert "is corrupt or foreign" in sentence and "Delete the folder" in sentence


def test_a_results_directory_that_is_a_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "results"
    file.write_text("mine")
    ended = start(f"--results-dir={file}/deeper").end(60)
    assert ended.code == 2 and f"{file} is a file" in ended.sentence
    assert file.read_text() == "mine"


def test_a_results_directory_that_cannot_be_written_is_refused() -> None:
    ended = start("--results-dir=/proc/results", *NULL).end(60)
    assert ended.code == 2
    assert (
        "The results directory /proc/results cannot be written" in ended.sentence and "--results-dir" in ended.sentence
    )


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("*.Offline.target_qsp = 5", "line 1: unknown key 'target_qsp'"),
        ("*.Offline.target_qps=5", "line 1: '*.Offline.target_qps=5' needs spaces around '='"),
        ("*.Offline.min_duration = 5", "line 1: 'Offline.min_duration' is set by the round's rules"),
    ],
)
def test_a_user_conf_that_loadgen_would_misread_is_refused(
    results: Path, tmp_path: Path, line: str, sentence: str
) -> None:
    (tmp_path / "user.conf").write_text(f"{line}\n")
    assert sentence in refusal(results, f"--user-conf={tmp_path / 'user.conf'}")


def test_a_run_that_would_not_fit_in_memory_is_refused_with_what_would_fit(results: Path) -> None:
    words = ("--backend=null", *FIXED["single-stream"], "--scenario=single-stream", "--profile=official")
    sentence = refusal(results, *words, "--expected-latency-ms=0.000001")
    assert "GB for LoadGen's queries" in sentence and "--profile quick" in sentence
    assert "--expected-latency-ms " in sentence


# What is unusual and right.


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&-", "<&- >&- 2>&-"])
def test_closed_standard_streams_are_no_fault(results: Path, closed: str) -> None:
    words = " ".join([sys.executable, "-m", "suite.run", *faulty_run(results, "offline"), closed])
    environment = {"TANDEM_CACHE": str(cache()), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(["sh", "-c", words], env=environment, cwd=ROOT, capture_output=True, timeout=90, check=False)
    assert done.returncode in (0, 1) and b"Traceback" not in done.stderr
    assert only_record(results)[1]["state"] == "finished"


def test_strange_places_are_no_fault(tmp_path: Path) -> None:
    strange = tmp_path / "a b" / "ünïcode 結果"
    strange.mkdir(parents=True)
    link = tmp_path / "link"
    link.symlink_to(strange)
    (strange.parent / "data").symlink_to(cache() / "data" / "fashion-mnist")
    locale = {"LC_ALL": "C", "LANG": "C"}
    ended = outcome(link, *faulty_run(link, "offline"), "--data-dir=../data", cwd=strange, environment=locale)
    assert ended.code in (0, 1), ended.stderr
    folder, record = only_record(strange)
    assert record["state"] == "finished"
    assert f"performance evidence: {link / folder.relative_to(strange)}" in ended.stdout


def test_rubbish_in_the_cache_of_searches_is_found_again(results: Path, own_cache: Path) -> None:
    words = (f"--cache-dir={own_cache}", *faulty_run(results, "offline"))
    outcome(results, *words)
    (kept,) = (own_cache / "search").iterdir()
    altered = kept.read_text().replace('"batch": 64', '"batch": 65', 1)
    for content in ("", "[]", '{"findings": {"serving": {}}, "sha256": 1}', "\0" * 99, altered):
        kept.write_text(content)
        assert "finding how to serve it" in outcome(results, *words).stderr
    assert "finding how to serve it" not in outcome(results, *words).stderr


def test_a_cache_that_cannot_be_written_costs_a_warning(results: Path) -> None:
    data = {"TANDEM_DATA": str(cache() / "data" / "fashion-mnist"), "TANDEM_CACHE": "/proc/cache"}
    ended = outcome(results, *faulty_run(results, "offline"), environment=data)
    assert ended.code in (0, 1)
    assert "warning: the search could not be kept" in ended.stderr and "Traceback" not in ended.stderr


def test_two_runs_at_once_share_results_and_an_empty_cache(results: Path, own_cache: Path) -> None:
    both = [start(f"--cache-dir={own_cache}", *faulty_run(results, "offline", "--json")) for _ in range(2)]
    assert all(command.end(90).code in (0, 1) for command in both)
    found = sorted(results.glob("*/*/*/*/performance/manifest.json"))
    assert len(found) == 2
    assert len(list((own_cache / "search").iterdir())) == 1


def test_the_list_and_the_help_need_nothing(tmp_path: Path) -> None:
    nothing = {"TANDEM_CACHE": str(tmp_path / "nothing")}
    for word in ("--list", "--help", "--helpshort"):
        ended = Command("suite.run", word, environment=nothing).end(60)
        assert ended.code == 0 and ended.stderr == "" and ended.stdout
        assert word != "--list" or "- fashion-resnet" in ended.stdout, "it cannot run without its data"
    assert list(tmp_path.iterdir()) == []
    assert len(Command("suite.run", "--helpshort").end(60).stdout.splitlines()) <= 40
