"""The answers in LoadGen's accuracy log, mlperf_log_accuracy.json: one entry a sample, its payload in hexadecimal."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.errors import UsageError

# What a payload may hold, as LoadGen logs it from memory on every machine that it supports: little-endian.
DTYPES: dict[str, np.dtype[Any]] = {"float32": np.dtype("<f4"), "int32": np.dtype("<i4"), "int64": np.dtype("<i8")}

HEXADECIMAL = re.compile(r"(?:[0-9a-fA-F]{2})*")
INT64 = np.iinfo(np.int64)


@dataclass(frozen=True, eq=False)
class AnswerLog:
    """Answers in the order of the log: sequence numbers (n,), sample indices (n,), payloads (n, width) in bytes."""

    seq_ids: NDArray[np.int64]
    indices: NDArray[np.int64]
    payload: NDArray[np.uint8]

    def decode(self, dtype: str) -> NDArray[Any]:
        """Returns the payloads as float32, int32 or int64: shape (n,) of one value each, (n, k) of k values each.

        Raises UsageError where the payloads are empty or do not hold whole values.
        """
        item, width = DTYPES[dtype], self.payload.shape[1]
        if not len(self.indices):
            return np.empty(0, item)
        if width == 0 or width % item.itemsize:
            size = f"{width} bytes long" if width else "empty"
            raise UsageError(f"The logged answers are {size}: they hold no {dtype}, which takes {item.itemsize} bytes.")
        values: NDArray[Any] = np.ascontiguousarray(self.payload).view(item)
        return values.reshape(-1) if values.shape[1] == 1 else values


def read_log(path: Path) -> AnswerLog:
    """Returns the answers of a log, none of an empty one; raises UsageError naming the file and the entry at fault."""
    entries = _entries(path)
    try:
        seq_ids, indices = ([entry[key] for entry in entries] for key in ("seq_id", "qsl_idx"))
        data = [entry["data"] for entry in entries]
        return AnswerLog(_int64(seq_ids), _int64(indices), _payload(data))
    except (TypeError, KeyError, ValueError, OverflowError):
        raise UsageError(f"The accuracy log {path} is malformed: {_first_fault(entries)}.") from None


def in_index_order(log: AnswerLog, total: int, dtype: str) -> NDArray[Any]:
    """Returns the answers to samples 0 to total - 1; raises UsageError unless each has exactly one."""
    fault = coverage(log.indices, total)
    if fault:
        raise UsageError(fault)
    values = log.decode(dtype)
    ordered = np.empty_like(values)
    ordered[log.indices] = values
    return ordered


def payloads(data: list[Any], dtype: str) -> NDArray[Any]:
    """Returns payloads in hexadecimal as `AnswerLog.decode` does; raises UsageError where one is none."""
    try:
        payload = _payload(data)
    except (TypeError, ValueError, AttributeError):
        raise UsageError("a payload is not hexadecimal, two digits a byte, of the same length as all others") from None
    nowhere = np.zeros(len(payload), np.int64)
    return AnswerLog(nowhere, nowhere, payload).decode(dtype)


def coverage(indices: NDArray[np.int64], total: int) -> str | None:
    """Returns what keeps `indices` from naming each of 0 to total - 1 exactly once, in a sentence; None if nothing."""
    outside = indices[(indices < 0) | (indices >= total)]
    if len(outside):
        allowed = f"the samples are 0 to {total - 1}" if total else "there is no sample"
        return f"Index {outside[0]} is out of range: {allowed}{_and_more(len(outside), 'out of range')}."
    times = np.bincount(indices, minlength=total)
    repeated = np.flatnonzero(times > 1)
    if len(repeated):
        first = repeated[0]
        return f"Index {first} is answered {times[first]} times{_and_more(len(repeated), 'answered more than once')}."
    missing = np.flatnonzero(times == 0)
    if len(missing):
        return f"Index {missing[0]} is missing: {len(missing)} of {total} samples have no answer."
    return None


def _and_more(count: int, what: str) -> str:
    return f" ({count - 1} more {what})" if count > 1 else ""


def _entries(path: Path) -> list[Any]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"The accuracy log {path} cannot be read: {error.strerror}.") from None
    if not content.strip():
        raise UsageError(f"The accuracy log {path} is empty: LoadGen did not finish.")
    try:
        entries = json.loads(content)
    except json.JSONDecodeError as error:
        # LoadGen closes its list last of all.
        early = content.lstrip().startswith(b"[") and not content.rstrip().endswith(b"]")
        state = "ends early: LoadGen did not finish" if early else "is no list of answers in JSON"
        raise UsageError(f"The accuracy log {path} {state} (line {error.lineno}: {error.msg}).") from None
    except (ValueError, RecursionError):
        raise UsageError(f"The accuracy log {path} is no list of answers in JSON.") from None
    if not isinstance(entries, list):
        raise UsageError(f"The accuracy log {path} is no list of answers.")
    return entries


def _int64(values: list[Any]) -> NDArray[np.int64]:
    if set(map(type, values)) - {int}:
        raise TypeError("not all are whole numbers")
    return np.array(values, np.int64)


def _payload(data: list[str]) -> NDArray[np.uint8]:
    """Returns the bytes of the entries, one row each; raises TypeError or ValueError where they have none."""
    if len(set(map(len, data))) > 1:
        raise ValueError("widths differ")
    width, digits = len(data[0]) // 2 if data else 0, "".join(data)
    # fromhex skips blanks; and a half byte could join its neighbour's.
    if len(digits) != 2 * width * len(data) or (digits and not digits.isalnum()):
        raise ValueError("not two digits a byte")
    return np.frombuffer(bytes.fromhex(digits), np.uint8).reshape(len(data), width)


def _first_fault(entries: list[Any]) -> str:
    """Returns what is wrong with the first entry that is wrong, in a clause."""
    width = None
    for number, entry in enumerate(entries):
        fault = _entry_fault(entry)
        if fault:
            return f"entry {number} {fault}"
        width = len(entry["data"]) // 2 if width is None else width
        if len(entry["data"]) // 2 != width:
            return f"entry {number} holds {len(entry['data']) // 2} bytes where those before it hold {width}"
    raise AssertionError("the entries are well formed")


def _entry_fault(entry: Any) -> str | None:
    if not isinstance(entry, dict):
        return "is no answer: it must have seq_id, qsl_idx and data"
    for key in ("seq_id", "qsl_idx"):
        value = entry.get(key)
        if type(value) is not int or not INT64.min <= value <= INT64.max:
            return f"has no whole number as its {key}"
    if not isinstance(entry.get("data"), str) or not HEXADECIMAL.fullmatch(entry["data"]):
        return "has data that is not hexadecimal, two digits a byte"
    return None
