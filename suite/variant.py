"""What is run: a model on a backend with its options, as asked for (Variant) and as resolved here (Serving)."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from common.errors import UsageError
from common.files import digest_of
from reference_models.base import Model


@dataclass(frozen=True)
class Requested:
    """How a variant is to be served; None, or the device, pin or awake "auto", leaves the choice to the search.

    `end_to_end` has samples decoded and preprocessed inside the measured region, and not beforehand.
    """

    batch: int | None = None
    max_wait_us: int | None = None
    sessions: int | None = None
    threads: int | None = None
    device: str = "auto"
    pin: str = "auto"
    end_to_end: bool = False
    awake: str = "auto"
    prefetch: int | None = None


@dataclass(frozen=True)
class Serving:
    """How a variant is served: what every `auto` became on this machine.

    `threads` is for one session. `prefetch`: threads of each session that gather the batches behind the one that it
    answers, 0 where it gathers them itself. `pin` are the cores that the sessions share (suite.placement says how);
    none where nothing is pinned. `awake`: no core of the machine halts meanwhile (suite.awake).
    """

    batch: int
    max_wait_us: int
    sessions: int
    threads: int
    device: str
    prefetch: int = 0
    pin: tuple[int, ...] = ()
    end_to_end: bool = False
    awake: bool = False

    def __post_init__(self) -> None:
        # A record that was read holds a list.
        object.__setattr__(self, "pin", tuple(self.pin))

    @property
    def layout(self) -> str:
        """Sessions, their threads and the largest batch, for people."""
        ahead = f", {_count(self.prefetch, 'thread')} of each gathering ahead" if self.prefetch else ""
        return (
            f"{_count(self.sessions, 'session')} of {_count(self.threads, 'thread')}, "
            f"batches of up to {self.batch}{ahead}"
        )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


@dataclass(frozen=True)
class Variant:
    """A model on a backend with its runtime options and the serving that was requested.

    `plugin_sha256` is the digest of the sources of a backend from outside the tree; ours are in the run's own digest.
    """

    workload: str
    recipe: str
    backend: str
    model: Model
    options: Mapping[str, str]
    requested: Requested
    eligible: bool
    not_eligible_because: str | None
    plugin_sha256: str | None = None

    @property
    def id(self) -> str:
        """Returns 16 hexadecimal digits of the digest of all that names the variant: contents, never paths."""
        return digest_of(self._identity())[:16]

    def record(self) -> dict[str, Any]:
        """Returns the variant as JSON-like values, as it stands in a run's record."""
        return {
            **self._identity(),
            "id": self.id,
            "eligible": self.eligible,
            "not_eligible_because": self.not_eligible_because,
        }

    def _identity(self) -> dict[str, Any]:
        return {
            "workload": self.workload,
            "recipe": self.recipe,
            "backend": self.backend,
            "model": {"format": self.model.format, "sha256": self.model.sha256, "chain": list(self.model.chain)},
            "options": dict(self.options),
            "requested": self._requested(),
            "plugin_sha256": self.plugin_sha256,
        }

    def _requested(self) -> dict[str, Any]:
        requested = asdict(self.requested)
        if requested["prefetch"] is None:
            # A variant of before there was anything to ask for has the same name.
            del requested["prefetch"]
        return requested


def check_record(record: Mapping[str, Any]) -> None:
    """Raises UsageError where a variant's record is incomplete or not that of its id."""
    try:
        model = record["model"]
        variant = Variant(
            workload=record["workload"],
            recipe=record["recipe"],
            backend=record["backend"],
            model=Model(model["format"], Path(), model["sha256"], tuple(model["chain"])),
            options=dict(record["options"]),
            requested=Requested(**record["requested"]),
            eligible=record["eligible"],
            not_eligible_because=record["not_eligible_because"],
            plugin_sha256=record["plugin_sha256"],
        )
        given = record["id"]
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"This is no record of a variant: {error!r}. Use one that a run has written.") from error
    if given != variant.id:
        raise UsageError(
            f"The record of variant {given} was altered: what it holds is variant {variant.id}. "
            "Use it as the run has written it."
        )
