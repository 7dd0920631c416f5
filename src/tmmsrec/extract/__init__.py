"""Item texts and pictures -> feature matrices, by encoders that can be saved and applied to items that come later."""

from tmmsrec.extract.base import Absent, Encoded, Encoder, Fitted, MissingExtra, NothingToLearn, Work
from tmmsrec.extract.choose import resolve_image, resolve_text
from tmmsrec.extract.features import encode_items, extract_images, extract_text, source_of_items
from tmmsrec.extract.image import DescriptorImage, ModelImage
from tmmsrec.extract.plan import Crew, Form
from tmmsrec.extract.saved import load_encoder
from tmmsrec.extract.sharded import Source, extract_into
from tmmsrec.extract.stream import PictureSource
from tmmsrec.extract.templates import flatten
from tmmsrec.extract.text import ModelText
from tmmsrec.extract.tfidf import TfidfText

__all__ = [
    "Absent",
    "Crew",
    "DescriptorImage",
    "Encoded",
    "Encoder",
    "Fitted",
    "Form",
    "MissingExtra",
    "ModelImage",
    "ModelText",
    "NothingToLearn",
    "PictureSource",
    "Source",
    "TfidfText",
    "Work",
    "encode_items",
    "extract_images",
    "extract_into",
    "extract_text",
    "flatten",
    "load_encoder",
    "resolve_image",
    "resolve_text",
    "source_of_items",
]
