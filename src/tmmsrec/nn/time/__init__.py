"""What time adds to a stream: TIE (section 2.4), its rivals of Table 5, and elapsed time.  A new one is one file in this folder.

Every encoder is a value with ``build(width, length)``; what it builds maps (x [B, L, d], clock) to the [B, L, d] that Eq. 11 adds
to x, and may say how the backbone is to look at the history (``nn.look``).
"""

from tmmsrec.nn.time.base import Clock, Nothing, TimeEncoder, TimeModule
from tmmsrec.nn.time.elapsed import Gap, Rotary
from tmmsrec.nn.time.positions import Learned, Random, Sinusoid
from tmmsrec.nn.time.tie import TIE, civil

__all__ = ["TIE", "Clock", "Gap", "Learned", "Nothing", "Random", "Rotary", "Sinusoid", "TimeEncoder", "TimeModule", "civil"]
