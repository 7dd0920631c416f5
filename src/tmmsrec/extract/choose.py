"""The names the command line takes -> encoder values."""

from __future__ import annotations

from tmmsrec.extract import hub
from tmmsrec.extract.image import DescriptorImage, ModelImage
from tmmsrec.extract.templates import Template
from tmmsrec.extract.text import ModelText
from tmmsrec.extract.tfidf import TfidfText


def resolve_text(name: str | None = None, template: Template = "plain") -> TfidfText | ModelText:
    """The text encoder a name stands for: None or "tfidf", "minilm", a folder, or a model on the hub."""
    if name is None or name.lower() == "tfidf":
        return TfidfText(template=template)
    return ModelText(hub.MINILM if name.lower() == hub.MINILM else name, template=template)


def resolve_image(name: str | None = None) -> DescriptorImage | ModelImage:
    """The picture encoder a name stands for: None or "descriptors", "resnet50" (the paper's), a folder, or a model on the hub."""
    if name is None or name.lower() == "descriptors":
        return DescriptorImage()
    return ModelImage("microsoft/resnet-50" if name.lower() in ("resnet50", "resnet-50") else name)
