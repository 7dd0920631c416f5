"""A bundle for machines without this package: the query side as ONNX, and all vectors as Parquet."""

from tmmsrec.export.onnx_file import OnnxFile, write_onnx
from tmmsrec.export.vectors import Vectors, write_vectors

__all__ = ["OnnxFile", "Vectors", "write_onnx", "write_vectors"]
