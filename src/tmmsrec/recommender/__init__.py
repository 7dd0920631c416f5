"""The trained thing a person holds: it recommends, finds similar items, explains, takes new items, and lies in a folder."""

from tmmsrec.recommender.adding import Added
from tmmsrec.recommender.answering import Recommendation
from tmmsrec.recommender.held import Recommender
from tmmsrec.recommender.search import HNSW, IVF, Exact, Search

__all__ = ["HNSW", "IVF", "Added", "Exact", "Recommendation", "Recommender", "Search"]
