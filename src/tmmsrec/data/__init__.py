"""Logs, catalogues, splits and batches: everything that touches rows of data, and nothing that learns."""
