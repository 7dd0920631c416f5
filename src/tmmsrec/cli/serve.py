"""``serve``: a bundle over HTTP."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tmmsrec.cli import screen
from tmmsrec.cli.index import told

if TYPE_CHECKING:
    import socket

    from tmmsrec.recommender import Search
    from tmmsrec.serve.service import Service

TOKEN = "TMMSREC_TOKEN"


def serve(
    bundle: Annotated[Path, typer.Argument(help="A bundle folder.")],
    beside: Annotated[Path | None, typer.Option(help="A second bundle, to be compared on the page.")] = None,
    images: Annotated[str | None, typer.Option(help="Folder or zip of pictures; what a bundle was made from by default.")] = None,
    data: Annotated[Path | None, typer.Option(help="Folder for items and events that are sent; BUNDLE.live by default.")] = None,
    read_only: Annotated[bool, typer.Option("--read-only", help="Take no items and events.")] = False,
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen at; 0 takes a free one.")] = 8000,
    token_file: Annotated[Path | None, typer.Option(help=f"File with the token that requests must bring (or ${TOKEN}).")] = None,
    no_token: Annotated[bool, typer.Option("--no-token", help="Answer everybody, on an open address too.")] = False,
    ann: Annotated[bool, typer.Option("--ann", help="Search by an index (faiss): worth it for many items.")] = False,
    threads: Annotated[int, typer.Option(min=1, help="Threads for tensor work.")] = 1,
    together: Annotated[int, typer.Option(min=1, max=512, help="Most questions answered in one batch.")] = 64,
    max_body: Annotated[int, typer.Option(min=1024, help="Most bytes of a request.")] = 8 * 2**20,
    access_log: Annotated[bool, typer.Option("--access-log", help="Write a line for every request to standard error.")] = False,
) -> None:
    """Answer requests over HTTP, with a page to look into the bundle."""
    import torch

    from tmmsrec.data.problems import DataProblem

    try:
        from tmmsrec.serve.service import Service, Serving
    except ModuleNotFoundError as problem:
        raise DataProblem(f"serving needs {problem.name}, which is not installed: pip install 'tmmsrec[serve]'") from None

    token = None if no_token else _token(token_file)
    if token is None and not no_token and not loopback(host):
        raise DataProblem(
            f"{host} can be reached from elsewhere: give a token (--token-file or ${TOKEN}), or say --no-token if everybody may ask"
        )
    torch.set_num_threads(threads)
    listening = _listen(host, port)
    with listening:
        service = Service(Serving(bundle, beside, images, data, read_only, together, max_body, token, _search(ann)))
        _run(service, listening, host, access_log)


def _run(service: Service, listening: socket.socket, host: str, access_log: bool) -> None:
    import logging

    import uvicorn

    from tmmsrec.serve.app import application

    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for name in ("tmmsrec.serve", "uvicorn.access"):
        logging.getLogger(name).setLevel(logging.INFO)
    config = uvicorn.Config(
        application(service),
        log_config=None,
        access_log=access_log,
        server_header=False,
        timeout_graceful_shutdown=30,
        lifespan="on",
    )
    port = listening.getsockname()[1]
    named = f"[{host}]" if ":" in host else host
    kept = (
        f"what is sent is kept in {service.serving.journal}" if service.journal is not None else "nothing can be sent (--read-only)"
    )
    if service.serving.search is not None:
        screen.say(told(service.shelf.main.recommender))
    held = service.shelf.main.recommender
    screen.say(f"http://{named}:{port}    {held.about.get('name') or type(held.method).__name__} on {held.dataset!r}; {kept}")
    uvicorn.Server(config).run(sockets=[listening])


def _search(ann: bool) -> Search | None:
    from tmmsrec.recommender import HNSW

    return HNSW() if ann else None


def loopback(host: str) -> bool:
    """Whether an address can only be reached from this machine."""
    import ipaddress

    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _token(file: Path | None) -> str | None:
    """The token of a file, or of the environment; raises DataProblem for one that no header can carry."""
    from tmmsrec.data.problems import DataProblem

    try:
        text = file.read_text(encoding="utf-8").strip() if file is not None else os.environ.get(TOKEN, "").strip()
    except (OSError, UnicodeDecodeError) as problem:
        raise DataProblem(f"--token-file {file}: {getattr(problem, 'strerror', None) or 'it is not text'}") from None
    if file is not None and not text:
        raise DataProblem(f"{file} holds no token; write one line into it")
    if text and (not text.isascii() or not text.isprintable() or " " in text):
        raise DataProblem("the token must be printable ASCII without spaces")
    return text or None


def _listen(host: str, port: int) -> socket.socket:
    import socket

    from tmmsrec.data.problems import DataProblem

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio answers without waiting for more to send (TCP_NODELAY) only where the protocol is named.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
    except OSError as problem:
        listening.close()
        raise DataProblem(f"cannot listen at {host}:{port}: {problem.strerror or problem}; choose another with --port") from None
    return listening
