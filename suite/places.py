"""Where data and the cache are; `environment` is the process's, which only a command's main reads."""

from collections.abc import Mapping
from pathlib import Path

from common.errors import UsageError
from suite import plugins


def cache_dir(given: str, environment: Mapping[str, str]) -> Path:
    """Returns the cache: the flag's, else TANDEM_CACHE, else tandem in the user's cache."""
    chosen = given or environment.get("TANDEM_CACHE", "")
    if chosen:
        return Path(chosen)
    try:
        return Path(environment.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tandem"
    except RuntimeError as error:
        raise UsageError("There is no home directory for the cache; set TANDEM_CACHE or HOME.") from error


def data_dir(given: str, environment: Mapping[str, str], cache: Path, dataset: str) -> Path:
    """Returns a dataset's folder: the flag's, else TANDEM_DATA where a file of it is there, else the cache's."""
    if given:
        return Path(given)
    module = plugins.load("reference_models.datasets", "dataset", dataset)
    files = module.FILES["test"]
    chosen = environment.get("TANDEM_DATA", "")
    if chosen and any((Path(chosen) / f"{file.name}{end}").exists() for file in files for end in ("", ".gz")):
        return Path(chosen)
    return cache / "data" / str(module.FOLDER)
