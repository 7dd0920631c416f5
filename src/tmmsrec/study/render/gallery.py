"""Users with what they had, what they were given and what they took, for a page."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from tmmsrec.study.charts import COLOURS
from tmmsrec.study.samples import Part, Sample, Shown


def gallery(given: Sequence[Sample]) -> str:
    """Cards with pictures; under each recommended item the shares of its score."""
    names = list(dict.fromkeys(p.name for s in given for r in s.recommended for p in r.parts))
    legend = "".join(f'<span><i style="background:var(--s{1 + n % COLOURS})"></i>{escape(m)}</span>' for n, m in enumerate(names))
    note = (
        f"{len(given)} users drawn by lot, asked about just before their last event. Under each item: how much of its score comes "
        "from each of its parts (to the right for it, to the left against it). What the user really took next is framed."
    )
    cards = "".join(_sample(s, names) for s in given)
    return f'<p class="note">{note}</p><div class="legend">{legend}</div>{cards}'


def _sample(sample: Sample, names: list[str]) -> str:
    earlier = f", and {sample.earlier:,} earlier" if sample.earlier else ""
    found = "" if any(r.hit for r in sample.recommended) else f", at place {sample.rank:,.0f}"
    largest = max([abs(p.share) for r in sample.recommended for p in r.parts] + [1e-9])
    cards = [
        f"<h3>User {escape(sample.user)}, {escape(sample.at)}</h3>",
        f'<p class="small">Had{earlier}:</p><ol class="items">{"".join(_item(i) for i in sample.history)}</ol>',
        f'<p class="small">Was given:</p><ol class="items">{"".join(_item(r, names, largest) for r in sample.recommended)}</ol>',
        f'<p class="small">Took{found}:</p><ol class="items">{_item(sample.taken)}</ol>',
    ]
    return f'<article class="sample">{"".join(cards)}</article>'


def _item(item: Shown, names: Sequence[str] = (), largest: float = 1.0) -> str:
    picture = f'<img src="{item.picture}" alt="" loading="lazy">' if item.picture else '<div class="blank">no picture</div>'
    shares = "".join(_share(p, names.index(p.name), largest) for p in item.parts)
    title = escape(item.title or item.item)
    return (
        f'<li class="{"hit" if item.hit else ""}">{picture}<b title="{escape(item.item, quote=True)}">{title}</b>'
        f'<span class="faint">{escape(item.note)}</span>{shares}</li>'
    )


def _share(part: Part, at: int, largest: float) -> str:
    width = 50 * abs(part.share) / largest
    left = 50 if part.share >= 0 else 50 - width
    said = escape(f"{part.name}: {part.share:+.2f}", quote=True)
    style = f"left:{left:.1f}%;width:{width:.1f}%;background:var(--s{1 + at % COLOURS})"
    return f'<div class="share" title="{said}"><i style="{style}"></i></div>'
