"""Pictures from web addresses into a folder: at once but politely, resumable, with a status for each address.

FOLDER/ab/ab12...   the bytes, named by the BLAKE2 hash of the address
FOLDER/status.parquet   address, status, size, said
"""

from __future__ import annotations

import hashlib
import http.client
import os
import random
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import quote, urlsplit

import pyarrow as pa
import pyarrow.parquet as pq

from tmmsrec.data.problems import DataProblem

AGENT = "tmmsrec (research; one picture an item; +https://pypi.org/project/tmmsrec)"
AGAIN = (408, 425, 429, 500, 502, 503, 504)
GONE = (404, 410)
STARTS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"BM", b"RIFF", b"II*\0", b"MM\0*")


@dataclass(frozen=True)
class Fetched:
    """What became of one address.

    ``status`` is "ok", "missing" (404, 410), "not a picture", "too large", or "failed"; only "failed" is tried again by a
    later run.
    """

    address: str
    status: str
    size: int = 0
    said: str = ""


@dataclass
class Downloader:
    """Fetch pictures into ``folder``; what lies there is never fetched again.

    Attributes:
        folder: made when needed.
        at_once: addresses fetched at the same time.
        per_host: and of these from one host.
        tries: attempts for an address that fails in a way that may pass (no answer, 429, 5xx).
        pause: seconds before the second attempt, doubled each time and spread at random; Retry-After goes before it.
        patience: seconds without an answer after which an attempt is given up.
        longest_wait: a Retry-After beyond this many seconds counts as failed, to be fetched by a later run.
        largest: bytes of one picture.
    """

    folder: Path
    at_once: int = 16
    per_host: int = 4
    tries: int = 4
    pause: float = 0.5
    patience: float = 20.0
    longest_wait: float = 60.0
    largest: int = 32 * 2**20
    _hosts: dict[str, threading.Semaphore] = field(default_factory=dict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def fetch(self, addresses: Sequence[str]) -> dict[str, Fetched]:
        """Fetch what is not there yet; returns the status of every address and writes the table of all.

        A run that is cut short loses only what was on its way: files appear whole, under their final names, or not at all.

        Raises:
            DataProblem: the folder cannot be written (a full disk).
        """
        known = self.status()
        wanted = list(dict.fromkeys(addresses))
        todo = [a for a in wanted if not self._settled(a, known.get(a))]
        left = set(todo)
        done = {a: known[a] if a in known else Fetched(a, "ok", self._file(a).stat().st_size) for a in wanted if a not in left}
        try:
            self._all(todo, done)
        finally:
            if set(done) - set(known) or todo:
                self._write({**known, **done})
        return done

    def status(self) -> dict[str, Fetched]:
        """Address -> what became of it, over all runs into this folder."""
        path = Path(self.folder) / "status.parquet"
        if not path.exists():
            return {}
        try:
            return {row["address"]: Fetched(**row) for row in pq.read_table(path).to_pylist()}
        except (OSError, TypeError, pa.ArrowException):
            return {}  # the files themselves tell what is there; the table is written anew

    def counts(self) -> dict[str, int]:
        """How many addresses have which status."""
        return dict(sorted(Counter(f.status for f in self.status().values()).items()))

    def stored(self, address: str) -> bytes | None:
        """The bytes of a fetched address, None if they are not here."""
        try:
            return self._file(address).read_bytes()
        except FileNotFoundError:
            return None

    def _settled(self, address: str, known: Fetched | None) -> bool:
        # "ok" is believed only when the file is there; a file without a status comes from a run that was cut short.
        return self._file(address).exists() or (known is not None and known.status not in ("ok", "failed"))

    def _file(self, address: str) -> Path:
        name = hashlib.blake2b(address.encode(), digest_size=16).hexdigest()
        return Path(self.folder) / name[:2] / name

    def _all(self, addresses: list[str], done: dict[str, Fetched]) -> None:
        """Fetch them; what became of each stands in ``done`` as soon as it is known."""
        with ThreadPoolExecutor(self.at_once, thread_name_prefix="pictures") as pool:
            waiting = [pool.submit(self._one, a) for a in _spread(addresses)]
            try:
                for one in as_completed(waiting):
                    result = one.result()
                    done[result.address] = result
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _one(self, address: str) -> Fetched:
        with self._lock:
            gate = self._hosts.setdefault(_host(address), threading.Semaphore(self.per_host))
        said = ""
        for attempt in range(self.tries):
            wait = self.pause * 2**attempt * random.uniform(0.75, 1.25)
            try:
                with gate:
                    return self._attempt(address)
            except urllib.error.HTTPError as problem:
                said = f"HTTP {problem.code}"
                problem.close()
                if problem.code in GONE:
                    return Fetched(address, "missing", said=said)
                if problem.code not in AGAIN:
                    return Fetched(address, "failed", said=said)
                asked = _retry_after(problem.headers.get("Retry-After"))
                if asked is not None and asked > self.longest_wait:
                    return Fetched(address, "failed", said=f"{said}, asked to wait {asked:.0f} s")
                wait = max(wait, asked or 0.0)
            except (OSError, http.client.HTTPException) as problem:
                if isinstance(problem, _DiskProblem):
                    raise DataProblem(
                        f"cannot write pictures into {self.folder}: {problem}; free some space and run again"
                    ) from None
                said = str(getattr(problem, "reason", "") or problem or type(problem).__name__)
            except ValueError as problem:
                return Fetched(address, "failed", said=f"no usable address: {problem}")
            if attempt + 1 < self.tries:
                time.sleep(wait)
        return Fetched(address, "failed", said=said[:200])

    def _attempt(self, address: str) -> Fetched:
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https"):
            raise ValueError(f"'{parts.scheme}' is neither http nor https")
        request = urllib.request.Request(
            quote(address, safe="%/:=&?~#+!$,;'@()*[]"), headers={"User-Agent": AGENT, "Accept": "image/*,*/*;q=0.5"}
        )
        with urllib.request.urlopen(request, timeout=self.patience) as answer:
            data = answer.read(self.largest + 1)
            expected = answer.headers.get("Content-Length")
            kind = answer.headers.get("Content-Type", "")
        if len(data) > self.largest:
            return Fetched(address, "too large", said=f"over {self.largest} bytes")
        if expected is not None and len(data) < int(expected):
            raise OSError(f"the answer broke off after {len(data)} of {expected} bytes")
        if not data.startswith(STARTS):
            return Fetched(address, "not a picture", said=kind or "unknown type")
        self._keep(address, data)
        return Fetched(address, "ok", len(data))

    def _keep(self, address: str, data: bytes) -> None:
        target = self._file(address)
        part = target.with_name(f"{target.name}.{os.getpid()}.{threading.get_ident()}.part")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(data)
            os.replace(part, target)
        except OSError as problem:
            _discard(part)
            raise _DiskProblem(problem.strerror or str(problem)) from None

    def _write(self, known: dict[str, Fetched]) -> None:
        rows = [vars(f) for f in known.values()]
        path = Path(self.folder) / "status.parquet"
        part = path.with_name(f".status.{os.getpid()}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(
                pa.Table.from_pylist(
                    rows, pa.schema([("address", "string"), ("status", "string"), ("size", "int64"), ("said", "string")])
                ),
                part,
            )
            os.replace(part, path)
        except OSError as problem:
            _discard(part)
            raise DataProblem(f"cannot write {path}: {problem.strerror or problem}; free some space and run again") from None


class _DiskProblem(OSError):
    """The picture came, but could not be kept."""


def _host(address: str) -> str:
    try:
        return urlsplit(address).netloc
    except ValueError:
        return ""  # the attempt itself says what is wrong with it


def _discard(path: Path) -> None:
    with suppress(OSError):
        path.unlink(missing_ok=True)


def _spread(addresses: list[str]) -> list[str]:
    """Addresses in turns by host, so that one slow host does not hold every worker."""
    hosts: dict[str, int] = Counter()
    turns = []
    for address in addresses:
        host = _host(address)
        turns.append(hosts[host])
        hosts[host] += 1
    return [addresses[i] for i in sorted(range(len(addresses)), key=turns.__getitem__)]


def _retry_after(text: str | None) -> float | None:
    if not text:
        return None
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (TypeError, ValueError):
        return None
