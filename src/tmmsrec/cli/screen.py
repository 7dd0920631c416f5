"""What the verbs print: results to standard output, progress and problems to standard error."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.live import Live
    from rich.progress import Progress as Bar

    from tmmsrec.loop import Progress, Watch
    from tmmsrec.study.blocks import Document, Table


def console(*, stderr: bool = False) -> Any:
    """A console on standard output or standard error as they are now."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, soft_wrap=False)


def say(text: str = "") -> None:
    """A line on standard output, as it is, so that a command in it can be copied."""
    console().print(text, markup=False, soft_wrap=True)


def tell(text: str) -> None:
    """Sentences on standard output: broken between words on a terminal, lines as they are elsewhere."""
    out = console()
    out.print(text, markup=False, soft_wrap=not out.is_terminal)


def program() -> str:
    """How to call this program from here: by its name, or by its path where the environment that it lies in is not active."""
    script = Path(sys.executable).with_name("tmmsrec")
    return "tmmsrec" if shutil.which("tmmsrec") or not script.exists() else os.path.relpath(script)


def command(*words: object) -> str:
    """This program called with some words, as a shell takes it: blanks and marks in paths and ids are quoted."""
    return shlex.join([program(), *map(str, words)])


def note(text: str) -> None:
    """A line on standard error, beside a result that may be read by a program."""
    console(stderr=True).print(text, markup=False, soft_wrap=True)


def show(told: Document) -> None:
    """A document: its title, tables and words, on standard output."""
    from tmmsrec.study.render import terminal

    say(f"\n{told.title}")
    for piece in terminal.terminal(told):
        console().print(piece, soft_wrap=False)


def problem(what: object) -> None:
    """One clear message on standard error, in red where there is a terminal."""
    console(stderr=True).print(f"error: {what}", style="red", markup=False, soft_wrap=True)


def table(title: str = "") -> Any:
    """An empty table as all of them look: 80 columns have room for titles and numbers where nothing is boxed."""
    from rich import box
    from rich.table import Table

    made = Table(header_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    made.title, made.title_justify = f"\n{title}" if title else None, "left"
    return made


def pairs(title: str, lines: Mapping[str, object]) -> None:
    """Names and values under a title."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=title or None, title_justify="left", show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in lines.items():
        table.add_row(escape(name), escape(str(value)))
    console().print(table)


class Screen:
    """A Listener (``tmmsrec.study.stages``) that shows progress with rich on a terminal, and plain lines elsewhere.

    Args:
        quiet: nothing but problems.
        epochs: where there is no terminal, a line for every epoch; without it a training speaks after half a minute of silence.
    """

    SILENCE = 30.0  # seconds

    def __init__(self, *, quiet: bool = False, epochs: bool = False) -> None:
        self.quiet, self.epochs = quiet, epochs
        self._console = console(stderr=True)
        self._live = self._console.is_terminal and not quiet
        self._bar: Bar | None = None
        self._board: Live | None = None
        self._task: Any = None
        self._began = self._spoke = time.monotonic()

    def __enter__(self) -> Screen:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()
        if self._board is not None:
            self._board.stop()

    def stage(self, text: str) -> None:
        """A stage begins, or was found done."""
        self._close()
        self._say(f"{time.monotonic() - self._began:6.1f} s  {text}")

    def note(self, text: str) -> None:
        """Something a person should know."""
        self._close()
        if self._live:  # broken between words, and still beside the clock
            from rich.padding import Padding
            from rich.text import Text

            self._console.print(Padding(Text(text, "yellow"), (0, 0, 0, 10)))
        else:
            self._say(f"          {text}")

    def counting(self, done: int, total: int, what: str) -> None:
        """A stage has done so many of so many."""
        if self._live:
            self._show(what, done, total, f"{done:,} of {total:,}")
            if done >= total:
                self._close()

    def standing(self, table: Table) -> None:
        """How a study stands: a table that stays below the lines, on a terminal only."""
        if not self._live:
            return
        from rich.live import Live

        from tmmsrec.study.render import terminal

        if self._board is None:
            self._board = Live(console=self._console, transient=True, auto_refresh=False)
            self._board.start()
        self._board.update(terminal.table(table), refresh=True)

    def training(self, name: str) -> Watch | None:
        """What watches the training of a method."""
        begun = time.monotonic()

        def watch(now: Progress) -> None:
            if self._live:
                elapsed = time.monotonic() - begun
                self._show(name, elapsed, elapsed + now.left, f"{_epoch(now)}, {_best(now)}, {_left(now)}")
            elif (self.epochs and now.done == 1.0) or time.monotonic() - self._spoke >= self.SILENCE:
                self._say(f"{name}: {_line(now)}")

        return watch

    def _say(self, line: str) -> None:
        if not self.quiet:
            self._console.print(line, markup=False, soft_wrap=True)
            self._spoke = time.monotonic()

    def _show(self, what: str, done: float, total: float, text: str) -> None:
        from rich.progress import BarColumn, Progress, TextColumn

        if self._bar is None:
            columns = TextColumn("{task.description}"), BarColumn(bar_width=12), TextColumn("{task.fields[text]}")
            self._bar = Progress(*columns, console=self._console, transient=True)
            self._task = self._bar.add_task(what, text=text)
            self._bar.start()
        self._bar.update(self._task, description=what, completed=done, total=max(total, 1e-9), text=text)

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _line(now: Progress) -> str:
    loss = f"loss {now.loss:.4f}, " if now.best >= 0 else ""
    value = f"validation {now.validation:.4f}, " if now.validation is not None else ""
    return f"{_epoch(now)}, {loss}{value}{_best(now)}, {now.events_per_second:,.0f} events/s, {_left(now)}"


def _epoch(now: Progress) -> str:
    return f"epoch {now.epoch + 1}" + (f" ({now.done:.0%})" if now.done < 1 else "")


def _best(now: Progress) -> str:
    return f"best {now.best:.4f}" if now.best >= 0 else f"loss {now.loss:.4f}"


def _left(now: Progress) -> str:
    return f"at least {_clock(now.left)} left"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
