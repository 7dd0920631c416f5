"""Recommenders: each a value that describes it and the module that the value builds."""
