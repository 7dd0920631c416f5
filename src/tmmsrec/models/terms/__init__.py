"""Terms of a score that is a sum (``models.additive``).  Each is a value with one thought about what comes next:

Similar    what is like the things the person had                an inner product
Alike      what is all but the same as one of them               a few items
Popular    what many have                                        one coordinate of the product
Season     what the time of the year calls for                   a few coordinates
Lately     what many had lately                                  a few items
Again      what the person had already                           a few items
Follows    what others had after the things the person had       a few items
"""

from tmmsrec.models.terms.again import Again
from tmmsrec.models.terms.alike import Alike
from tmmsrec.models.terms.asking import Ages, Asking
from tmmsrec.models.terms.follows import Follows
from tmmsrec.models.terms.lately import Lately
from tmmsrec.models.terms.popular import Popular
from tmmsrec.models.terms.season import Season
from tmmsrec.models.terms.similar import Similar

__all__ = ["Again", "Ages", "Alike", "Asking", "Follows", "Lately", "Popular", "Season", "Similar"]
