"""The command line: each verb a thin function.  Heavy packages are imported inside the verbs, so that --help is quick."""

from __future__ import annotations

import os
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from tmmsrec.cli import (
    audit,
    compare,
    doctor,
    export,
    forget,
    index,
    look,
    prepare,
    recommend,
    report,
    screen,
    serve,
    study,
    train,
    tune,
    update,
    whole,
)
from tmmsrec.data.problems import JobFailed


class Verbs(TyperGroup):
    """All verbs: a problem with what a person gave is one message and exit status 2, never a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run a verb."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise
        except (ValueError, OSError, FloatingPointError, JobFailed) as problem:
            if ctx.params.get("debug"):
                raise
            screen.problem(problem)
            raise typer.Exit(2) from None
        except KeyboardInterrupt:
            screen.problem("stopped; the same command goes on from here")
            raise typer.Exit(130) from None


app = typer.Typer(
    cls=Verbs,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Next-item recommendations from ids, texts, pictures and real time. Start with: tmmsrec demo",
)


def _version(wanted: bool) -> None:
    if wanted:
        import tmmsrec

        typer.echo(tmmsrec.__version__)
        raise typer.Exit()


def _among_many() -> bool:
    """Whether torchrun, or something like it, has started this process."""
    return os.environ.get("WORLD_SIZE", "1") != "1"


#: Verbs that several processes, started by torchrun, do together.
SHARED = {"extract", "fit"}


@app.callback()
def common(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of a problem.")] = False,
    version: Annotated[bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)] = False,
) -> None:
    """Options of all verbs."""
    if context.invoked_subcommand in SHARED or not _among_many():
        return
    from tmmsrec.processes import asked_for  # here, since it imports torch

    if asked_for() > 1:
        shared = ", ".join(sorted(SHARED))
        raise ValueError(f"'{context.invoked_subcommand}' is done by one process: start it without torchrun, which is for {shared}")


for verb in (
    whole.run,
    whole.demo,
    prepare.prepare,
    prepare.extract,
    train.fit,
    train.evaluate,
    compare.compare,
    audit.audit,
    study.study,
    tune.tune,
    report.report,
    update.update,
    recommend.recommend,
    recommend.similar,
    serve.serve,
    forget.forget,
    index.index,
    look.list_,
    look.show,
    doctor.doctor,
):
    app.command(name=verb.__name__.rstrip("_"))(verb)
app.add_typer(export.app, name="export")


def main() -> None:
    """The console script."""
    # Threads that spin while they wait slow small operations down a hundredfold as soon as the machine has other work.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if _among_many():
        # Each process would say that it looked for unused parameters and found none this time.
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    app()
