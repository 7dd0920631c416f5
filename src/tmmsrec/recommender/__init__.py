"""The trained thing a person holds: it recommends, compares, explains, takes new items and events, and lies in a folder."""

from tmmsrec.recommender.adding import Added
from tmmsrec.recommender.answering import Answer, Recommendation
from tmmsrec.recommender.asking import Question
from tmmsrec.recommender.people import AddedEvents
from tmmsrec.recommender.recommender import Recommender
from tmmsrec.recommender.search import HNSW, IVF, Exact, Search

__all__ = [
    "HNSW",
    "IVF",
    "Added",
    "AddedEvents",
    "Answer",
    "Exact",
    "Question",
    "Recommendation",
    "Recommender",
    "Search",
]
