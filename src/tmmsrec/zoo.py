"""The methods of the paper as named values, and the floors.

Widths, dropout and depth are the best of the paper's Figure 7; ``replace(TMMSREC, width=126)`` is a smaller one.
"""

from __future__ import annotations

from dataclasses import replace

from tmmsrec.models.base import Method
from tmmsrec.models.counting import Markov, Popularity, Repeat
from tmmsrec.models.sequential import Entry, Sequential
from tmmsrec.nn.fusion import MLP, Add, Linear
from tmmsrec.nn.time import TIE, Learned, Nothing, Random, Sinusoid

POPULARITY = Popularity()
REPEAT_LAST = Repeat(newest=1)
REPEAT = Repeat()
MARKOV = Markov()
MARKOV_DECAYED = Markov(decay=0.5, span=3, reach=50, backoff=0.2)

SASREC = Sequential(width=126, time=Learned(), entry=Entry(dropped="streams", scaled=True))

TMMSREC = Sequential(modalities=("id", "text", "image"), width=768, time=TIE())

# Table 4: modalities and TIE.
TMMSREC_ID = replace(TMMSREC, modalities=("id",), time=Nothing())
TMMSREC_ID_TIE = replace(TMMSREC, modalities=("id",))
TMMSREC_ID_TEXT = replace(TMMSREC, modalities=("id", "text"), time=Nothing())
TMMSREC_ID_TEXT_TIE = replace(TMMSREC, modalities=("id", "text"))
TMMSREC_ID_IMAGE = replace(TMMSREC, modalities=("id", "image"), time=Nothing())
TMMSREC_ID_IMAGE_TIE = replace(TMMSREC, modalities=("id", "image"))
TMMSREC_NO_TIME = replace(TMMSREC, time=Nothing())

# Table 5: position encoders in the place of TIE (NP is TMMSREC_NO_TIME).
TMMSREC_LEARNED = replace(TMMSREC, time=Learned())
TMMSREC_RANDOM = replace(TMMSREC, time=Random())
TMMSREC_SINUSOID = replace(TMMSREC, time=Sinusoid())

# Table 6: early fusion.
TMMSREC_ADD = replace(TMMSREC, fusion=Add())
TMMSREC_LINEAR = replace(TMMSREC, fusion=Linear())
TMMSREC_MLP = replace(TMMSREC, fusion=MLP())

FLOORS = ("popularity", "repeat-last", "repeat", "markov", "markov-decayed")


def methods() -> dict[str, Method]:
    """Every named value of this page: "tmmsrec-no-time" -> TMMSREC_NO_TIME."""
    return {name.lower().replace("_", "-"): value for name, value in globals().items() if isinstance(value, Method)}
