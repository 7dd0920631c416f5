"""Texts through a learned sentence encoder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from tmmsrec.data.problems import DataProblem
from tmmsrec.extract import hub
from tmmsrec.extract.base import Content, Encoded, Encoder, Fitted, Work, nothing_to_fit
from tmmsrec.extract.describe import Described, describe_all
from tmmsrec.extract.templates import Template
from tmmsrec.extract.whole import Arrays

_POOLINGS = ("mean", "cls", "max")


@dataclass(frozen=True)
class ModelText(Encoder):
    """A transformers or sentence-transformers model; rows have length 1 and are as wide as the model.

    Token vectors are pooled as the model's own ``modules.json`` says, else by their mean over real tokens.  A
    sentence-transformers model with further layers is run by that library.

    Attributes:
        model: "minilm" (offline package), a folder, or a name on the hub.
        batch: texts at a time; changes speed only.
        template: how fields become a sentence, see ``templates.flatten``.
        columns: the fields to use, empty for all text fields.
        max_tokens: longer texts are cut here, or earlier where the model asks for it.
    """

    modality: ClassVar[str] = "text"
    shard: ClassVar[int] = 4_096
    model: str = hub.MINILM
    batch: int = 64
    template: Template = "plain"
    columns: tuple[str, ...] = ()
    max_tokens: int = 256

    def __post_init__(self) -> None:
        if self.batch < 1 or self.max_tokens < 4:
            raise DataProblem("ModelText: batch must be at least 1 and max_tokens at least 4")

    def fit_encode(self, contents: Iterable[Content], work: Work) -> tuple[FittedModelText, Encoded]:
        """See ``Encoder.fit_encode``."""
        fitted = self.learn()
        done = fitted.examine(contents, work)
        if not done.present.any():
            raise nothing_to_fit("text", Counter(done.reasons.values()))
        return fitted, done

    def learn(self, contents: Iterable[Content] = (), described: Iterable[Described] = ()) -> FittedModelText:
        """See ``Encoder.learn``; nothing is fitted, the model is taken as it is."""
        return FittedModelText(self, None)

    def restore(self, state: dict[str, Any], arrays: Arrays) -> FittedModelText:
        """See ``Encoder.restore``; the model is loaded, and its hash compared, when it is first needed."""
        return FittedModelText(self, state["weights"], state["width"])


class FittedModelText(Fitted):
    """A sentence encoder pinned to the weights it was first used with."""

    def __init__(self, encoder: ModelText, weights: str | None, width: int | None = None) -> None:
        self.encoder: ModelText = encoder
        self._expected, self._width = weights, width

    @property
    def width(self) -> int:  # type: ignore[override]
        """f, the model's width."""
        return self._width if self._width is not None else self._model.width

    @cached_property
    def _model(self) -> SentenceModel:
        model = SentenceModel(self.encoder)
        hub.same_weights(self.encoder.model, self._expected, model.weights)
        return model

    def examine(self, contents: Iterable[Content], work: Work) -> Encoded:
        """See ``Fitted.examine``."""
        texts = [c.strip() if isinstance(c, str) else c for c in contents]
        done = self.reduce(describe_all(self._model, texts, work))
        reasons = {i: "no text" if r in ("empty", "none given") else r for i, r in done.reasons.items()}
        return done._replace(reasons=reasons)

    def state(self) -> tuple[dict[str, Any], Arrays]:
        """See ``Fitted.state``."""
        return {"weights": self._expected or self._model.weights, "width": self.width}, {}

    def about(self) -> dict[str, Any]:
        """See ``Fitted.about``."""
        return {**self.state()[0], "pooling": self._model.pooling, "max_tokens": self._model.limit, "fitted_items": 0}


class SentenceModel:
    """A loaded model as a ``Describer`` of texts: [n, width] float32 rows of length 1."""

    dtype = "float32"
    block = 4_096
    what = "text"

    def __init__(self, encoder: ModelText) -> None:
        self.encoder = encoder
        self.where = hub.place(encoder.model)
        transformers = hub.need("transformers", "text", f"the text encoder '{encoder.model}'")
        hub.reach(encoder.model, self.where, ("tfidf", hub.MINILM))
        self.pooling, self.whole = _pooling(self.where)
        if self.whole:
            library = hub.need("sentence_transformers", "text", f"the sentence-transformers model '{encoder.model}'")
            self.model = hub.load(_Whole(library), encoder.model, self.where)
            self.limit = min(encoder.max_tokens, self.model.max_seq_length or encoder.max_tokens)
            self.model.max_seq_length = self.limit
            self.tokenizer = self.model.tokenizer
            self.width = int(self.model.encode(["a"], show_progress_bar=False).shape[1])
        else:
            self.tokenizer = hub.load(transformers.AutoTokenizer, encoder.model, self.where)
            self.model, _ = hub.load_model(transformers.AutoModel, encoder.model, self.where)
            self.limit = _limit(self.where, encoder.max_tokens, self.tokenizer, self.model.config)
            self.width = int(self.model.config.get_text_config().hidden_size)
        vocabulary = " ".join(f"{t}:{i}" for t, i in sorted(self.tokenizer.get_vocab().items()))
        self.weights = hub.weights_hash(self.model, vocabulary, self.pooling, pooler=False)
        self.name = f"text-{self.weights}-{self.limit}"

    def describe(self, contents: list[Any], threads: int) -> tuple[NDArray[Any], dict[int, str]]:
        """Encode n texts, the longest first so that a batch holds texts of one length; torch uses its own threads."""
        rows = np.zeros((len(contents), self.width), dtype=np.float32)
        order = sorted(range(len(contents)), key=lambda i: -len(contents[i]))
        for start in range(0, len(order), self.encoder.batch):
            chosen = order[start : start + self.encoder.batch]
            rows[chosen] = self._encode([contents[i] for i in chosen])
        bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
        return rows, {int(i): "the model gives NaN or infinity for this text" for i in bad}

    def _encode(self, texts: list[str]) -> NDArray[np.float32]:
        if self.whole:
            made = self.model.encode(texts, normalize_embeddings=True, convert_to_numpy=True, show_progress_bar=False)
            return np.asarray(made, dtype=np.float32)
        given = self.tokenizer(texts, padding=True, truncation=True, max_length=self.limit, return_tensors="pt")
        with torch.inference_mode():
            tokens = self.model(**given.to(self.model.device)).last_hidden_state
            pooled = _pool(tokens, given["attention_mask"].bool(), self.pooling)
            return np.asarray(torch.nn.functional.normalize(pooled.float(), dim=-1).cpu().numpy())


class _Whole:
    """Gives sentence-transformers the ``from_pretrained`` of the other library."""

    def __init__(self, library: Any) -> None:
        self.library = library

    def from_pretrained(self, where: str, **options: Any) -> Any:
        model = self.library.SentenceTransformer(where, model_kwargs={"use_safetensors": True}, device=str(hub.device()), **options)
        return model.eval().requires_grad_(False)


def _pool(tokens: torch.Tensor, mask: torch.Tensor, pooling: str) -> torch.Tensor:
    """[B, L, d] tokens and [B, L] bool mask -> [B, d]."""
    if pooling == "cls":
        return tokens[torch.arange(len(tokens)), mask.int().argmax(dim=1)]
    if pooling == "max":
        return tokens.masked_fill(~mask[..., None], -torch.inf).amax(dim=1)
    return (tokens * mask[..., None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)


def _pooling(where: str) -> tuple[str, bool]:
    """How to pool, and whether the model has layers that only sentence-transformers can run."""
    modules = hub.beside(where, "modules.json")
    if not isinstance(modules, list):
        return "mean", False
    kinds = [str(m["type"]).rsplit(".", 1)[-1] for m in modules]
    pooled = [m["path"] for m, kind in zip(modules, kinds, strict=True) if kind == "Pooling"]
    simple = set(kinds) <= {"Transformer", "Pooling", "Normalize"} and kinds[0] == "Transformer" and not modules[0]["path"]
    how = hub.beside(where, f"{pooled[0]}/config.json") if pooled else None
    modes = _modes(how) if isinstance(how, dict) else ["mean"]
    plain = simple and len(modes) == 1 and modes[0] in _POOLINGS
    return "+".join(modes), not plain


def _modes(config: dict[str, Any]) -> list[str]:
    """The pooling modes of a Pooling/config.json, in the old writing (one flag each) or the new (a name or a list)."""
    said = config.get("pooling_mode")
    if said is not None:
        return [said] if isinstance(said, str) else list(said)
    flags = {"cls_token": "cls", "max_tokens": "max", "mean_tokens": "mean"}
    found = [k.removeprefix("pooling_mode_") for k, on in config.items() if k.startswith("pooling_mode_") and on]
    return [flags.get(k, k) for k in found] or ["mean"]


def _limit(where: str, asked: int, tokenizer: Any, config: Any) -> int:
    said = hub.beside(where, "sentence_bert_config.json")
    limits = [asked, tokenizer.model_max_length]
    if isinstance(said, dict) and said.get("max_seq_length"):
        limits.append(said["max_seq_length"])
    elif getattr(config, "max_position_embeddings", None):
        # RoBERTa counts positions from padding_idx + 1, so two fewer fit.
        limits.append(config.max_position_embeddings - 2)
    return int(min(limits))
