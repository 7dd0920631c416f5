"""What was swapped out is let go of."""

from __future__ import annotations

import gc
import weakref

from tmmsrec.serve.memory import give_back


class Ring:
    def __init__(self) -> None:
        self.self = self


def test_what_holds_itself_is_let_go():
    gc.disable()
    try:
        gone = weakref.ref(Ring())
        assert gone() is not None
        give_back()
        assert gone() is None
    finally:
        gc.enable()
