"""What a person chooses (Encoder, a value) and what comes of fitting it on items (Fitted)."""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from tmmsrec.data.problems import DataProblem
from tmmsrec.data.store import atomic_folder
from tmmsrec.extract.cache import ContentCache
from tmmsrec.extract.whole import Arrays
from tmmsrec.values import to_json

if TYPE_CHECKING:
    from tmmsrec.extract.describe import Described, Describer

FORMAT = 1

Progress = Callable[[int, int, str], None]


class MissingExtra(DataProblem):
    """An encoder needs a package that is not installed; the message names the extra to install."""


class NothingToLearn(DataProblem):
    """The items themselves give an encoder nothing to be fitted on: the modality can be left out, and all else goes on.

    Attributes:
        found: what there is instead, with how many items.
        cure: what can be done.
    """

    def __init__(self, found: str, cure: str) -> None:
        super().__init__(found, cure)
        self.found, self.cure = found, cure

    def __str__(self) -> str:
        return f"{self.found}; {self.cure}"


@dataclass(frozen=True)
class Absent:
    """Stands where a text or a picture should be, with the reason why there is none."""

    reason: str


Content = str | bytes | Absent | None


class Encoded(NamedTuple):
    """The outcome of encoding n contents.

    Attributes:
        rows: [n, f] float32; zero where absent.
        present: [n] bool.
        reasons: position -> why there is no row; exactly the positions that are not present.
        reused: how many rows came from the cache.
    """

    rows: NDArray[np.float32]
    present: NDArray[np.bool_]
    reasons: dict[int, str]
    reused: int = 0


@dataclass(frozen=True)
class Work:
    """How to go about it; nothing here changes a row.

    Attributes:
        cache: folder of the content cache, None for none.
        progress: called as ``progress(done, total, what)``.
        workers: threads that read and decode, None for the cores of this machine shared among the processes of this run that are
            on it (8 at most).
        mark: names what is being made, in the cache; "" for no name.  See ``ContentCache``.
    """

    cache: Path | None = None
    progress: Progress | None = None
    workers: int | None = None
    mark: str = ""

    @property
    def threads(self) -> int:
        """How many threads to use."""
        beside = max(1, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
        return self.workers if self.workers is not None else max(1, min(8, (os.cpu_count() or 1) // beside))

    def kept(self, describer: Describer) -> ContentCache | None:
        """The cache of what a describer makes, opened once; None without a cache.

        Raises:
            DataProblem: the folder cannot be used.
        """
        if self.cache is not None and describer.name not in self._opened:
            opened = ContentCache(self.cache, describer.name, describer.width, describer.dtype, self.mark)
            self._opened[describer.name] = opened
        return self._opened.get(describer.name)

    @cached_property
    def _opened(self) -> dict[str, ContentCache]:
        return {}

    def tell(self, done: int, total: int, what: str) -> None:
        """Report progress, if anyone listens."""
        if self.progress is not None:
            self.progress(done, total, what)


class Fitted(ABC):
    """An encoder that has seen its items: turns contents into rows, now and for items that come later.

    Attributes:
        encoder: the value it was made from.
        width: f, how many numbers a row has.
    """

    encoder: Encoder
    width: int

    @abstractmethod
    def examine(self, contents: Iterable[Content], work: Work) -> Encoded:
        """Encode contents and say of each that failed why; never raises for a bad content."""

    def reduce(self, done: Described) -> Encoded:
        """Rows [n, f] of contents that the encoder's describer has described; as they are where nothing was fitted on them."""
        return Encoded(np.asarray(done.rows, np.float32), done.present, done.reasons, done.reused)

    @abstractmethod
    def state(self) -> tuple[dict[str, Any], Arrays]:
        """Everything ``Encoder.restore`` needs: a JSON object and named arrays."""

    @abstractmethod
    def about(self) -> dict[str, Any]:
        """Version or hash, width, and on how many items it was fitted (``fitted_items``, 0 for none), for the provenance."""

    def encode(self, contents: Iterable[Content]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Rows [n, f] float32 and presence [n] bool of n texts (str) or pictures (bytes).

        A content encoded alone gives the row it has in any batch to 1e-5.  Empty, missing or broken contents give a
        zero row that is not present.
        """
        done = self.examine(contents, Work())
        return done.rows, done.present

    def save(self, folder: Path | str) -> None:
        """Write into a folder (encoder.json, arrays.safetensors), replacing what stands there; all or nothing.

        ``load_encoder`` reads it.  The weights of a model are not copied, only their hash.
        """
        state, arrays = self.state()
        with atomic_folder(Path(folder)) as fresh:
            save_file({k: np.ascontiguousarray(v) for k, v in arrays.items()}, fresh / "arrays.safetensors")
            about = {"format": FORMAT, "encoder": to_json(self.encoder), "state": state}
            (fresh / "encoder.json").write_text(json.dumps(about, ensure_ascii=False), encoding="utf-8")


class Encoder(ABC):
    """A way to turn texts or pictures into rows; a frozen dataclass.

    Attributes:
        modality: "text" or "image".
        shard: items that are encoded and written at once in an extraction; what a process that is killed loses.
    """

    modality: ClassVar[str]
    shard: ClassVar[int] = 8_192

    def describer(self) -> Describer | None:
        """What makes the raw rows on which the encoder is fitted; None where it is fitted on contents, or not at all."""
        return None

    @abstractmethod
    def learn(self, contents: Iterable[Content], described: Iterable[Described]) -> Fitted:
        """Fit on a catalogue, reading what this encoder needs of it once, in order, and holding no more than a sample.

        Args:
            contents: of all items; read where there is no describer.
            described: the same contents described, part by part; read where there is one.

        Raises:
            DataProblem: nothing to fit on, or a model cannot be had.
        """

    @abstractmethod
    def fit_encode(self, contents: Iterable[Content], work: Work) -> tuple[Fitted, Encoded]:
        """Fit on contents and encode them in one go.

        Raises:
            DataProblem: no content at all can be encoded, or a model cannot be had.
        """

    @abstractmethod
    def restore(self, state: dict[str, Any], arrays: Arrays) -> Fitted:
        """The fitted encoder whose ``state()`` this is."""

    def fit(self, contents: Iterable[Content], *, cache: Path | str | None = None, progress: Progress | None = None) -> Fitted:
        """Fit on n texts or pictures; the result does not depend on their order."""
        return self.fit_encode(contents, Work(None if cache is None else Path(cache), progress))[0]


def unit_rows(rows: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Rows of Euclidean length 1 as float32, and which rows had a length at all (the others are zero)."""
    lengths = np.linalg.norm(rows, axis=1)
    some = np.isfinite(lengths) & (lengths > 1e-9)
    out = np.zeros(rows.shape, dtype=np.float32)
    np.divide(rows, lengths[:, None], out=out, where=some[:, None], casting="same_kind")
    return out, some


NAMED = {"text": "text", "image": "a picture"}


def nothing_to_fit(modality: str, reasons: Counter[str]) -> NothingToLearn:
    """The error for a modality in which not one item can be encoded; the commonest of the counted reasons are named."""
    said = "; ".join(f"{n} x {r}" for r, n in reasons.most_common(3))
    none = f"none of {reasons.total()} items has {NAMED[modality]} that can be encoded ({said or 'no items'})"
    return NothingToLearn(none, f"leave this modality out (--{modality} none) or repair it")


def clean_reasons(present: NDArray[np.bool_], reasons: dict[int, str], otherwise: str) -> dict[int, str]:
    """A reason for every absent position: the known one, or ``otherwise``."""
    return {int(i): reasons.get(int(i), otherwise) for i in np.flatnonzero(~present)}
