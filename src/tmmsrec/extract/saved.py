"""Reading a fitted encoder back from its folder."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors.numpy import load_file

from tmmsrec.data.problems import DataProblem
from tmmsrec.data.store import read_about
from tmmsrec.extract.base import FORMAT, Encoder, Fitted
from tmmsrec.values import ValueProblem, from_json


def load_encoder(folder: Path | str) -> Fitted:
    """Read what ``Fitted.save`` wrote; it gives the same rows bit for bit.  A model is loaded only when first needed.

    Raises:
        DataProblem: no fitted encoder there, a damaged one, or picture descriptors of another version.
        NewerFormat: written by a later version.
    """
    folder = Path(folder)
    about = read_about(folder / "encoder.json", "fitted encoder", FORMAT)
    try:
        arrays = load_file(folder / "arrays.safetensors")
        encoder, state = from_json(Encoder, about["encoder"]), about["state"]  # type: ignore[type-abstract]
        return encoder.restore(state, arrays)
    except (OSError, SafetensorError, KeyError, TypeError, IndexError, ValueProblem) as problem:
        raise DataProblem(f"the fitted encoder in {folder} is damaged: {problem!r}; extract the features anew") from None
