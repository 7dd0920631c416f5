"""``python -m bench.neighbours``: other libraries and a plain reference beside us, same data, same settings, one run.

Every contender trains in a process of its own, one after another, in an environment that the harness made for it
(``environments``).  It is given a folder (``desk``) with training and validation events and hands back, for each epoch, its ten
best items for every user; test items never leave the harness, which is the only one that judges (``verdict``).
"""
