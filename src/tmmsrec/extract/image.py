"""Pictures -> rows, with no download (DescriptorImage) or through a learned vision model (ModelImage)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from tmmsrec.data.problems import DataProblem
from tmmsrec.extract import descriptors, hub
from tmmsrec.extract.base import Absent, Content, Encoded, Encoder, Fitted, Work, clean_reasons, nothing_to_fit
from tmmsrec.extract.decode import decode
from tmmsrec.extract.describe import Described, describe_all
from tmmsrec.extract.reduce import Reducer
from tmmsrec.extract.sample import smallest
from tmmsrec.extract.whole import Arrays

_CHUNK = 16


@dataclass(frozen=True)
class DescriptorImage(Encoder):
    """Colour layout and histogram, oriented gradients, texture; group-wise scaled, principal components, length 1.

    Needs no download.  The same whatever order the items come in and however many workers decode them.

    Attributes:
        width: f at most; fewer where the pictures support fewer.
        fit_on: the components are fitted on at most so many pictures, chosen by the hash of their content.
    """

    modality: ClassVar[str] = "image"
    width: int = 128
    fit_on: int = 20_000

    def __post_init__(self) -> None:
        if self.width < 1 or self.fit_on < 2:
            raise DataProblem("DescriptorImage: width must be at least 1 and fit_on at least 2")

    def fit_encode(self, contents: Iterable[Content], work: Work) -> tuple[FittedDescriptors, Encoded]:
        """See ``Encoder.fit_encode``."""
        done = describe_all(self.describer(), contents, work)
        fitted = self.learn((), [done])
        return fitted, fitted.reduce(done)

    def describer(self) -> Descriptors:
        """See ``Encoder.describer``."""
        return Descriptors()

    def learn(self, contents: Iterable[Content], described: Iterable[Described]) -> FittedDescriptors:
        """See ``Encoder.learn``."""
        reasons: Counter[str] = Counter()
        chosen = smallest(_keyed(described, reasons), self.fit_on)
        if not chosen:
            raise nothing_to_fit("image", reasons)
        shares = np.array([g.share for g in descriptors.GROUPS.values()])
        return FittedDescriptors(self, Reducer.fit(np.stack(chosen), descriptors.shares(), shares, self.width), len(chosen))

    def restore(self, state: dict[str, Any], arrays: Arrays) -> FittedDescriptors:
        """See ``Encoder.restore``; raises DataProblem when the descriptors have changed since."""
        if state["descriptors"] != descriptors.VERSION:
            raise DataProblem(
                f"these picture features were made with descriptors version {state['descriptors']}, this package has version "
                f"{descriptors.VERSION}: extract the pictures anew and train again"
            )
        return FittedDescriptors(self, Reducer(**arrays), state["fitted_items"])


class FittedDescriptors(Fitted):
    """Descriptors with their fitted reduction."""

    def __init__(self, encoder: DescriptorImage, reducer: Reducer, fitted_items: int) -> None:
        self.encoder: DescriptorImage = encoder
        self.reducer, self.fitted_items, self.width = reducer, fitted_items, reducer.width

    def examine(self, contents: Iterable[Content], work: Work) -> Encoded:
        """See ``Fitted.examine``."""
        return self.reduce(describe_all(Descriptors(), contents, work))

    def reduce(self, done: Described) -> Encoded:
        """See ``Fitted.reduce``."""
        rows, some = self.reducer.apply(done.rows)
        present = done.present & some
        rows[~present] = 0
        return Encoded(rows, present, clean_reasons(present, done.reasons, "the picture equals the average of all"), done.reused)

    def state(self) -> tuple[dict[str, Any], Arrays]:
        """See ``Fitted.state``."""
        return {"descriptors": descriptors.VERSION, "fitted_items": self.fitted_items}, self.reducer.arrays()

    def about(self) -> dict[str, Any]:
        """See ``Fitted.about``."""
        return {"version": descriptors.VERSION, "width": self.width, "fitted_items": self.fitted_items}


class Descriptors:
    """``descriptors.describe`` as a ``Describer`` of pictures."""

    name = f"image-descriptors-{descriptors.VERSION}"
    width = descriptors.WIDTH
    dtype = "float16"
    block = 512
    what = "pictures"

    def describe(self, contents: list[Any], threads: int) -> tuple[NDArray[Any], dict[int, str]]:
        """Decode and describe n pictures."""
        chunks = [contents[i : i + _CHUNK] for i in range(0, len(contents), _CHUNK)]
        with ThreadPoolExecutor(max(1, threads)) as pool:
            made = [one for chunk in pool.map(_describe_chunk, chunks) for one in chunk]
        bad = {i: one.reason for i, one in enumerate(made) if isinstance(one, Absent)}
        rows = np.zeros((len(made), self.width), dtype=np.float16)
        good = [i for i in range(len(made)) if i not in bad]
        if good:
            rows[good] = np.stack([one for one in made if not isinstance(one, Absent)])
        return rows, bad


def _keyed(described: Iterable[Described], reasons: Counter[str]) -> Iterator[tuple[bytes, NDArray[Any]]]:
    """Raw rows with their keys, copied so that none keeps its whole part in memory; absent ones are counted."""
    for part in described:
        reasons.update(part.reasons.values())
        yield from ((part.keys[i], part.rows[i].copy()) for i in np.flatnonzero(part.present).tolist())


def _describe_chunk(chunk: list[bytes]) -> list[NDArray[np.float16] | Absent]:
    made = [decode(data, 2 * descriptors.SIDE) for data in chunk]
    return [one if isinstance(one, Absent) else descriptors.describe(one) for one in made]


@dataclass(frozen=True)
class ModelImage(Encoder):
    """A transformers vision model: its pooled output, or the mean of its last hidden states; rows as wide as the model.

    The paper (section 4.1) takes ResNet-50: ``ModelImage("microsoft/resnet-50")``, 2048 wide.  Pictures are prepared by
    the model's own processor on Pillow; torchvision is not used.

    Attributes:
        model: a folder or a name on the hub.
        batch: pictures at a time; changes speed only.
        unit: scale rows to length 1.
    """

    modality: ClassVar[str] = "image"
    shard: ClassVar[int] = 1_024
    model: str
    batch: int = 32
    unit: bool = True

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise DataProblem("ModelImage: batch must be at least 1")

    def fit_encode(self, contents: Iterable[Content], work: Work) -> tuple[FittedModelImage, Encoded]:
        """See ``Encoder.fit_encode``."""
        fitted = self.learn()
        done = fitted.examine(contents, work)
        if not done.present.any():
            raise nothing_to_fit("image", Counter(done.reasons.values()))
        return fitted, done

    def learn(self, contents: Iterable[Content] = (), described: Iterable[Described] = ()) -> FittedModelImage:
        """See ``Encoder.learn``; nothing is fitted, the model is taken as it is."""
        return FittedModelImage(self, None)

    def restore(self, state: dict[str, Any], arrays: Arrays) -> FittedModelImage:
        """See ``Encoder.restore``; the model is loaded, and its hash compared, when it is first needed."""
        return FittedModelImage(self, state["weights"], state["width"])


class FittedModelImage(Fitted):
    """A vision model pinned to the weights it was first used with."""

    def __init__(self, encoder: ModelImage, weights: str | None, width: int | None = None) -> None:
        self.encoder: ModelImage = encoder
        self._expected, self._width = weights, width

    @property
    def width(self) -> int:  # type: ignore[override]
        """f, the model's width."""
        return self._width if self._width is not None else self._model.width

    @cached_property
    def _model(self) -> VisionModel:
        model = VisionModel(self.encoder)
        hub.same_weights(self.encoder.model, self._expected, model.weights)
        return model

    def examine(self, contents: Iterable[Content], work: Work) -> Encoded:
        """See ``Fitted.examine``."""
        return self.reduce(describe_all(self._model, contents, work))

    def state(self) -> tuple[dict[str, Any], Arrays]:
        """See ``Fitted.state``."""
        return {"weights": self._expected or self._model.weights, "width": self.width}, {}

    def about(self) -> dict[str, Any]:
        """See ``Fitted.about``."""
        return {"weights": self._expected or self._model.weights, "width": self.width, "fitted_items": 0}


class VisionModel:
    """A loaded model as a ``Describer`` of pictures: [n, width] float32."""

    dtype = "float32"
    block = 256
    what = "pictures"

    def __init__(self, encoder: ModelImage) -> None:
        self.encoder = encoder
        where = hub.place(encoder.model)
        transformers = hub.need("transformers", "image", f"the picture encoder '{encoder.model}'")
        hub.reach(encoder.model, where, ("descriptors", "resnet50"))
        # Version 5 renamed the choice; its torchvision readers must not be taken even where torchvision is installed.
        pillow = {"backend": "pil"} if int(transformers.__version__.split(".")[0]) >= 5 else {"use_fast": False}
        self.processor = hub.load(transformers.AutoImageProcessor, encoder.model, where, **pillow)
        model, self.pooler = hub.load_model(transformers.AutoModel, encoder.model, where)
        self.weights = hub.weights_hash(model, self.processor.to_json_string(), pooler=self.pooler)
        # Models of two kinds (CLIP, SigLIP) keep the half that sees pictures under this name.
        self.model = getattr(model, "vision_model", model)
        self.name = f"image-{self.weights}-{'unit' if encoder.unit else 'raw'}"
        self.width = int(self._encode([Image.new("RGB", (64, 64), "white")]).shape[1])

    def describe(self, contents: list[Any], threads: int) -> tuple[NDArray[Any], dict[int, str]]:
        """Decode n pictures in threads and run the model on batches of those that could be read."""
        rows = np.zeros((len(contents), self.width), dtype=np.float32)
        bad: dict[int, str] = {}
        with ThreadPoolExecutor(max(1, threads)) as pool:
            for start in range(0, len(contents), self.encoder.batch):
                made = list(pool.map(partial(decode, at_least=512), contents[start : start + self.encoder.batch]))
                bad |= {start + i: one.reason for i, one in enumerate(made) if isinstance(one, Absent)}
                good = [i for i, one in enumerate(made) if not isinstance(one, Absent)]
                if good:
                    rows[[start + i for i in good]] = self._encode([made[i] for i in good])
        strange = np.flatnonzero(~np.isfinite(rows).all(axis=1))
        return rows, bad | {int(i): "the model gives NaN or infinity for this picture" for i in strange}

    def _encode(self, pictures: list[Any]) -> NDArray[np.float32]:
        given = self.processor(images=pictures, return_tensors="pt")["pixel_values"].to(next(self.model.parameters()).device)
        with torch.inference_mode():
            out = self.model(pixel_values=given)
            pooled = getattr(out, "pooler_output", None) if self.pooler else None
            if pooled is None:
                last = out.last_hidden_state
                pooled = last.mean(dim=1) if last.ndim == 3 else last.mean(dim=(-2, -1))
            flat = pooled.flatten(1).float()
            return np.asarray((torch.nn.functional.normalize(flat, dim=-1) if self.encoder.unit else flat).cpu().numpy())
