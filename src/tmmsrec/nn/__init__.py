"""Tensors only: item tables, time encoders, fusions, backbones and losses, each a value beside the module it builds."""
