"""Features beside a Dataset folder, with the encoders that made them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import get_args

from tmmsrec import values
from tmmsrec.data import store
from tmmsrec.data.dataset import Dataset
from tmmsrec.data.problems import DataProblem
from tmmsrec.extract import (
    Encoder,
    Fitted,
    Form,
    NothingToLearn,
    Work,
    extract_into,
    load_encoder,
    resolve_image,
    resolve_text,
    source_of_items,
)
from tmmsrec.extract.templates import Template, text_fields
from tmmsrec.study.samples import source_of
from tmmsrec.study.stages import Listener
from tmmsrec.values import ValueProblem, nearest


def encoders(text: str, image: str, template: str, width: int, changes: Sequence[str] = ()) -> dict[str, Encoder | None]:
    """Modality -> the encoder that a name stands for, None for "none"; the width goes to those that can choose it.

    Args:
        changes: ``MODALITY.field=value`` for one of them: "text.columns=title,brand", "text.grams=char".

    Raises:
        ValueProblem: an unknown template, or a change that cannot be made.
    """
    if template not in get_args(Template):
        raise ValueProblem(f"unknown template '{template}'{nearest(template, get_args(Template))}")
    found: dict[str, Encoder | None] = {
        "text": None if text == "none" else resolve_text(text, template),  # type: ignore[arg-type]
        "image": None if image == "none" else resolve_image(image),
    }
    found = {modality: _wide(encoder, width) for modality, encoder in found.items()}
    for change in changes:
        modality, point, rest = change.strip().partition(".")
        if modality not in found or not point:
            raise ValueProblem(f"'{change}' names no encoder; write text.FIELD=VALUE or image.FIELD=VALUE, like text.columns=title")
        if found[modality] is None:
            raise ValueProblem(f"'{change}' changes the encoder of a modality that was left out (--{modality} none)")
        found[modality] = values.change_all(found[modality], [rest])
    return found


def _wide(encoder: Encoder | None, width: int) -> Encoder | None:
    has = encoder is not None and "width" in {f.name for f in fields(encoder)}  # type: ignore[arg-type]
    return replace(encoder, width=width) if has else encoder  # type: ignore[type-var]


def why_not(modality: str, dataset: Dataset) -> str:
    """Why a modality's features cannot be made for a dataset; "" when they can."""
    if modality == "text":
        try:
            text_fields(dataset.catalog.fields)
        except DataProblem:
            return "the items have no text fields"
        return ""
    if "image" not in dataset.catalog.fields.column_names:
        return "the items name no pictures"
    if "pictures" not in dataset.report:
        return "the items name pictures, but none were given when the data was prepared (--images)"
    return "" if source_of(dataset) is not None else "the pictures are not where they were when the data was prepared"


def extract(dataset: Dataset, encoder: Encoder, work: Work, form: Form, listener: Listener) -> Dataset:
    """Make one modality's features beside the Dataset folder, the fitted encoder in its ``encoders``; the Dataset with them.

    Every process that is called so takes part; see ``tmmsrec.extract.extract_into``.

    Raises:
        NothingToLearn: no item has a text or picture that can be used; the Dataset is as it was, and can do without.
        DataProblem: whatever else stands in the way.
    """
    assert dataset.folder is not None
    modality = encoder.modality
    if lacking := why_not(modality, dataset):
        raise NothingToLearn(lacking, f"leave this modality out (--{modality} none), or prepare the data with it")
    pictures = None if modality == "text" else source_of(dataset)
    report = list_of_missing(dataset.folder, modality)
    source = source_of_items(dataset, encoder, pictures)
    extract_into(dataset.folder, source, replace(work, progress=listener.counting), form, report)
    made = store.load(dataset.folder)
    features = made.features[modality]
    missing = features.provenance.get("missing", {}).get("count", 0)
    listener.stage(f"{modality} features: {features.width} numbers for {features.coverage:.1%} of the items, {missing:,} without")
    return made


def list_of_missing(folder: Path, modality: str) -> Path:
    """Where the items without features of a modality are listed, each with the reason."""
    return folder / "encoders" / f"{modality}-missing.parquet"


def fitted_encoders(dataset: Dataset) -> dict[str, Fitted]:
    """The encoders beside a Dataset folder, for the modalities that it has."""
    if dataset.folder is None:
        return {}
    folders = {m: dataset.folder / "encoders" / m for m in dataset.features}
    return {m: load_encoder(f) for m, f in folders.items() if f.is_dir()}
