"""Texts without any download: weighted words, then their principal directions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from tmmsrec.data.problems import DataProblem
from tmmsrec.extract.base import (
    Absent,
    Content,
    Encoded,
    Encoder,
    Fitted,
    NothingToLearn,
    Work,
    clean_reasons,
    nothing_to_fit,
    unit_rows,
)
from tmmsrec.extract.cache import content_key
from tmmsrec.extract.describe import Described
from tmmsrec.extract.sample import smallest
from tmmsrec.extract.templates import Template
from tmmsrec.extract.whole import Arrays

if TYPE_CHECKING:
    from sklearn.feature_extraction.text import CountVectorizer

Grams = Literal["word", "char"]

# Below this many texts a word that occurs once is kept: rare and common cannot be told apart yet.
_FEW = 100
_BLOCK = 8_192


@dataclass(frozen=True)
class TfidfText(Encoder):
    """TF-IDF of words and pairs of words, reduced by a truncated SVD (latent semantic analysis); rows have length 1.

    Deterministic, and the same whatever order the items come in.

    Attributes:
        width: f at most; fewer where the texts support fewer.
        template: how fields become a sentence, see ``templates.flatten``.
        columns: the fields to use, empty for all text fields.
        grams: "word" (1 and 2 words) or "char" (2 to 4 characters within a word: for languages without spaces, codes
            and misspellings).
        min_items: grams found in fewer items are ignored (1 while there are under 100 items).
        vocabulary: the most frequent so many grams are used.
        fit_on: grams, weights and directions are found on at most so many texts, chosen by the hash of their content.
    """

    modality: ClassVar[str] = "text"
    width: int = 128
    template: Template = "plain"
    columns: tuple[str, ...] = ()
    grams: Grams = "word"
    min_items: int = 2
    vocabulary: int = 50_000
    fit_on: int = 50_000

    def __post_init__(self) -> None:
        if self.width < 1 or self.min_items < 1 or self.vocabulary < 1 or self.fit_on < 1:
            raise DataProblem("TfidfText: width, min_items, vocabulary and fit_on must be at least 1")

    def fit_encode(self, contents: Iterable[Content], work: Work) -> tuple[FittedTfidf, Encoded]:
        """See ``Encoder.fit_encode``; the cache is not used, since it would be no faster."""
        texts = list(contents)
        fitted = self.learn(texts, ())
        return fitted, fitted.examine(texts, work)

    def learn(self, contents: Iterable[Content], described: Iterable[Described] = ()) -> FittedTfidf:
        """See ``Encoder.learn``."""
        reasons: Counter[str] = Counter()
        full = sorted(smallest(_keyed(contents, reasons), self.fit_on))
        if not full:
            raise nothing_to_fit("text", reasons)
        vectorizer = self._counter(min_df=min(self.min_items, len(full)) if len(full) >= _FEW else 1, max_features=self.vocabulary)
        try:
            counts = vectorizer.fit_transform(full)
        except ValueError:
            said = f"the {len(full)} texts share no word (the first is {full[0][:60]!r})"
            cure = "try grams='char' or a sentence model (--text minilm), or leave the texts out (--text none)"
            raise NothingToLearn(said, cure) from None
        grams = [str(g) for g in vectorizer.get_feature_names_out()]
        seen_in = np.bincount(counts.indices, minlength=len(grams))
        idf = np.log((1 + len(full)) / (1 + seen_in)) + 1
        weighted = _weigh(counts, idf)
        return FittedTfidf(self, grams, idf.astype(np.float32), _directions(weighted, self.width), len(full))

    def restore(self, state: dict[str, Any], arrays: Arrays) -> FittedTfidf:
        """See ``Encoder.restore``."""
        return FittedTfidf(self, state["grams"], arrays["idf"], arrays["components"], state["fitted_items"])

    def _counter(self, **options: Any) -> CountVectorizer:
        from sklearn.feature_extraction.text import CountVectorizer  # here: it takes a second to import, and few need it

        if self.grams == "char":
            return CountVectorizer(analyzer="char_wb", ngram_range=(2, 4), dtype=np.float32, **options)
        return CountVectorizer(token_pattern=r"(?u)\b\w+\b", ngram_range=(1, 2), dtype=np.float32, **options)


class FittedTfidf(Fitted):
    """A TF-IDF with its words, weights [V] and directions [f, V]."""

    def __init__(
        self, encoder: TfidfText, grams: list[str], idf: NDArray[np.float32], components: NDArray[np.float32], fitted_items: int
    ) -> None:
        self.encoder: TfidfText = encoder
        self.grams, self.idf, self.components, self.fitted_items = grams, idf, components, fitted_items
        self.width = len(components)

    @cached_property
    def _counter(self) -> CountVectorizer:
        return self.encoder._counter(vocabulary={g: i for i, g in enumerate(self.grams)})

    def examine(self, contents: Iterable[Content], work: Work) -> Encoded:
        """See ``Fitted.examine``."""
        texts = list(contents)
        reasons = {i: _reason(t) for i, t in enumerate(texts) if not isinstance(t, str) or not t.strip()}
        rows = np.zeros((len(texts), self.width), dtype=np.float32)
        for start in range(0, len(texts), _BLOCK):
            part = ["" if start + i in reasons else str(t) for i, t in enumerate(texts[start : start + _BLOCK])]
            rows[start : start + len(part)] = _weigh(self._counter.transform(part), self.idf) @ self.components.T
            work.tell(start + len(part), len(texts), "text")
        rows, present = unit_rows(rows)
        return Encoded(rows, present, clean_reasons(present, reasons, "no word of the text is known to the encoder"))

    def state(self) -> tuple[dict[str, Any], Arrays]:
        """See ``Fitted.state``."""
        return {"grams": self.grams, "fitted_items": self.fitted_items}, {"idf": self.idf, "components": self.components}

    def about(self) -> dict[str, Any]:
        """See ``Fitted.about``."""
        return {"version": 1, "width": self.width, "vocabulary": len(self.grams), "fitted_items": self.fitted_items}


def _directions(weighted: sp.csr_matrix, width: int) -> NDArray[np.float32]:
    if weighted.shape[1] == 1:  # one gram, one direction: the library refuses to look for it
        return np.ones((1, 1), dtype=np.float32)
    from sklearn.decomposition import TruncatedSVD

    svd = TruncatedSVD(min(width, *weighted.shape), n_iter=4, random_state=0).fit(weighted)
    kept = svd.singular_values_ > 1e-5 * svd.singular_values_[0]
    return np.ascontiguousarray(svd.components_[kept], dtype=np.float32)


def _weigh(counts: sp.csr_matrix, idf: NDArray[Any]) -> sp.csr_matrix:
    from sklearn.preprocessing import normalize

    weighted = counts.astype(np.float32, copy=True)
    weighted.data = (1 + np.log(weighted.data)) * idf.astype(np.float32)[weighted.indices]
    return normalize(weighted, copy=False)


def _keyed(contents: Iterable[Content], reasons: Counter[str]) -> Iterator[tuple[bytes, str]]:
    """The texts among contents with their keys; the others are counted."""
    for content in contents:
        if isinstance(content, str) and content.strip():
            yield content_key(content), content
        else:
            reasons[_reason(content)] += 1


def _reason(content: Content) -> str:
    return content.reason if isinstance(content, Absent) else "no text"
