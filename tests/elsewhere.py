"""A device that is not there: tensors say that they are on it, and this processor computes for them.

What a GPU would refuse is refused: an operation on tensors of which some are elsewhere and some here, and what numpy is asked of
a tensor that is elsewhere.  So code that was only ever run on a processor shows where it forgot to say where.  Importing this
changes torch for the whole process, so it is for processes of their own, such as ``python -m tests.trying_elsewhere``.
"""

from __future__ import annotations

import torch
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.backend_registration import _DummyBackendModule, _setup_privateuseone_for_python_backend

aten = torch.ops.aten
MOVES = {aten._to_copy.default, aten.copy_.default}
AT = {
    aten.index.Tensor,
    aten.index_put_.default,
    aten.index_put.default,
    aten._index_put_impl_.default,
}  # may have places given from here
HERE = torch.device("cpu")


class _Module(_DummyBackendModule):
    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16]


_setup_privateuseone_for_python_backend("elsewhere", backend_module=_Module())
ELSEWHERE = torch.device("elsewhere", 0)
_AUTOCAST = torch.library.Library("_", "IMPL")
_AUTOCAST.fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")  # autocast changes nothing there
# Views of wrapped tensors have no version to count in inference mode, and torch.tensor(..., device=) asks no dispatch mode.
torch.inference_mode = lambda mode=True: torch.no_grad()
_made = torch.tensor


def _tensor(*args, device=None, **kwargs):
    made = _made(*args, **kwargs)
    return made if device is None else made.to(device)


torch.tensor = _tensor


class There(torch.Tensor):
    """A tensor elsewhere; ``here`` holds its numbers."""

    @staticmethod
    def __new__(cls, here: torch.Tensor) -> There:
        how = {"strides": here.stride(), "storage_offset": here.storage_offset(), "dtype": here.dtype, "device": ELSEWHERE}
        made = torch.Tensor._make_wrapper_subclass(cls, here.shape, **how)
        made.here = here
        return made

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return _computed(func, args, kwargs or {})

    def tolist(self):
        return self.here.tolist()

    def __repr__(self) -> str:
        return f"There({self.here})"


class Elsewhere(TorchDispatchMode):
    """Within it, tensors may be made elsewhere."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return _computed(func, args, kwargs or {})


def _computed(func, args, kwargs):
    given, spec = pytree.tree_flatten((args, kwargs))
    there = [one for one in given if isinstance(one, There)]
    asked = next((one for one in given if isinstance(one, torch.device)), None)
    if there and func not in MOVES:
        matters = [args[0], *args[2:]] if func in AT else given
        strangers = [
            tuple(one.shape) for one in matters if isinstance(one, torch.Tensor) and not isinstance(one, There) and one.dim()
        ]
        if strangers:
            raise RuntimeError(f"{func}: some tensors are elsewhere and some are here, {strangers}")
    inner = [one.here if isinstance(one, There) else HERE if isinstance(one, torch.device) else one for one in given]
    args_here, kwargs_here = pytree.tree_unflatten(inner, spec)
    found = func(*args_here, **kwargs_here)
    if func is aten._local_scalar_dense.default:
        return found
    if func._schema.is_mutable:
        own = {id(one.here): one for one in there}
        return pytree.tree_map(lambda one: own.get(id(one), one), found)
    stays = bool(there) if asked is None else asked.type == "elsewhere"
    return pytree.tree_map(lambda one: There(one) if stays and isinstance(one, torch.Tensor) else one, found)
