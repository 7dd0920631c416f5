"""A document (``study.blocks``) shown: on a terminal, as Markdown, as LaTeX, as one HTML page."""
