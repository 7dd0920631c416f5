"""Item fields -> one sentence per item.  Pure functions of a pyarrow table."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tmmsrec.data.problems import DataProblem

Template = Literal["plain", "recformer"]

# Scraped descriptions can hold a whole page; what decides is said well before this many characters of a field.
LONGEST = 5_000
_FIRST = {"plain": ("category", "brand", "title"), "recformer": ("title", "brand", "category")}
# A tag starts with a letter, '/' or '!' right after '<', so that "size < 5 > 3" stays as it is.
_TAGS = r"(?is)<(?:script|style)\b.*?</(?:script|style)\s*>|<[/!]?[a-z][^<>]*>|<!--.*?-->"


def flatten(fields: pa.Table, template: Template = "plain", columns: Sequence[str] = ()) -> list[str]:
    """One sentence per row of an item table; "" where an item has no text at all.

    ``plain`` joins the values: category, brand, title, then the other text fields by name (the order in which the paper
    joins Amazon's).  ``recformer`` writes keys and values, "title: ... brand: ... category: ...", then the other fields
    by name (Recformer, Li et al. 2023, flattens items so).  Lists are joined by commas; HTML left by scraping is
    removed; white space is squeezed.  Only text fields count (strings and lists of strings); ``image`` never does.

    Args:
        fields: I rows.
        template: "plain" or "recformer".
        columns: the fields to use; empty for all text fields.  A field that this table lacks counts as missing, unless
            the table has none of them.

    Raises:
        DataProblem: unknown template, or no text field to read (the message lists what there is).
    """
    if template not in _FIRST:
        raise DataProblem(f"unknown template '{template}'; known: {', '.join(sorted(_FIRST))}")
    names = text_fields(fields, columns)
    first = [n for n in _FIRST[template] if n in names]
    ordered = first + sorted(n for n in names if n not in first)
    if fields.num_rows == 0:
        return []
    parts = [_keyed(n, clean(fields[n]), template) for n in ordered]
    # Not null_handling="skip": pyarrow 26 then leaves out the rows in which every field is null.
    joined = pc.binary_join_element_wise(*(pc.fill_null(p, "") for p in parts), " ")
    squeezed: list[str] = _squeeze(joined).to_pylist()
    return squeezed


def wanted(encoder: Any) -> tuple[Template, tuple[str, ...]]:
    """How a text encoder has items told, and of which fields: as its own ``template`` and ``columns`` say, where it has them."""
    return getattr(encoder, "template", "plain"), tuple(getattr(encoder, "columns", ()))


def text_fields(fields: pa.Table, columns: Sequence[str] = ()) -> list[str]:
    """Names of the fields that hold text, in the table's order; raises DataProblem when there is none."""
    have = [f.name for f in fields.schema if f.name != "image" and _is_text(f.type)]
    names = [n for n in have if n in columns] if columns else have
    if not names:
        asked = f"none of the fields asked for ({', '.join(columns)})" if columns else "no text field"
        raise DataProblem(f"the item table has {asked}; its fields are: {', '.join(map(repr, fields.column_names)) or 'none'}")
    return names


def clean(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """Strings without HTML and needless white space; null where nothing is left.  Lists are joined by ", "."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    text = pc.utf8_slice_codeunits(_as_text(array), 0, LONGEST)
    marked = pc.fill_null(pc.match_substring(text, "&"), False).to_numpy(zero_copy_only=False)
    if marked.any():
        # Twice, since scraped text is often escaped twice ("&amp;amp;").
        mended = [html.unescape(html.unescape(t)) for t in text.filter(pa.array(marked)).to_pylist()]
        text = pc.replace_with_mask(text, pa.array(marked), pa.array(mended, pa.string()))
    text = _squeeze(pc.replace_substring_regex(text, _TAGS, " "))
    return pc.if_else(pc.equal(pc.utf8_length(text), 0), pa.scalar(None, pa.string()), text)


def _squeeze(text: pa.Array) -> pa.Array:
    return pc.utf8_trim_whitespace(pc.replace_substring_regex(text, r"[\s\p{Cc}\p{Z}]+", " "))


def _keyed(name: str, values: pa.Array, template: str) -> pa.Array:
    return values if template == "plain" else pc.binary_join_element_wise(f"{name}:", values, " ", null_handling="emit_null")


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind) or _is_list(kind):
        return _is_text(kind.value_type)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _as_text(array: pa.Array) -> pa.Array:
    if not _is_list(array.type):
        return array.cast(pa.string())
    inner = _as_text(pc.list_flatten(array))
    parents = pc.list_parent_indices(array).to_numpy()
    full = pc.fill_null(pc.greater(pc.utf8_length(inner), 0), False).to_numpy(zero_copy_only=False)
    counts = np.bincount(parents[full], minlength=len(array))
    offsets = pa.array(np.concatenate([[0], np.cumsum(counts)]), pa.int32())
    return pc.binary_join(pa.ListArray.from_arrays(offsets, inner.filter(pa.array(full))), ", ")
