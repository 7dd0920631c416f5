"""tmmsrec: next-item recommendations from ids, texts, pictures and real time."""

__version__ = "0.1.0"
