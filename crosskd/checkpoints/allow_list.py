"""An unpickler that only knows the names on an allow-list.

A pickle can name any callable, and unpickling calls it.  Here only the names
below exist: tensors, plain containers, numpy arrays and scalars without
objects, and the contents of mmengine's own checkpoints.  torch's
``weights_only`` does the same in principle, but its list differs between the
supported versions and cannot be extended in the older ones.
"""
import collections
import pickle
from collections.abc import Callable
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import torch
from mmengine.config import ConfigDict
from mmengine.logging import HistoryBuffer

# mmengine pickles the methods of a HistoryBuffer through getattr
HISTORY_METHODS = ('min', 'max', 'current', 'mean')
ARRAY = object()  # replaces numpy.ndarray, and is not callable


class Refused(pickle.UnpicklingError):
    """A pickle contains something that is not on the allow-list."""


def _getattr(owner: Any, name: str) -> Any:
    if owner is not HistoryBuffer or name not in HISTORY_METHODS:
        raise Refused(f'builtins.getattr of {name!r}')
    return getattr(owner, name)


def _encode(text: str, encoding: str) -> bytes:
    if encoding != 'latin1':
        raise Refused(f'_codecs.encode to {encoding!r}')
    return text.encode(encoding)


def _dtype(spec: str, *_: Any) -> np.dtype:
    dtype = np.dtype(spec if isinstance(spec, str) else 'O')
    if dtype.kind not in 'biufcSU':
        raise Refused(f'numpy.dtype {spec!r}')
    return dtype


def _scalar(dtype: np.dtype, data: bytes) -> Any:
    if not isinstance(dtype, np.dtype) or not isinstance(data, bytes):
        raise Refused('a numpy scalar that holds objects')
    return np.frombuffer(data, dtype, count=1)[0]


def _empty_array(*_: Any) -> np.ndarray:
    return np.empty(0)  # filled by its BUILD


ALLOWED: dict[tuple[str, str], Any] = {
    (thing.__module__, thing.__name__): thing
    for thing in (set, frozenset, complex, bytearray, int, float, bool, str,
                  list, dict, tuple, collections.OrderedDict,
                  collections.defaultdict, collections.deque,
                  collections.Counter, torch.Size, torch.device,
                  torch._utils._rebuild_tensor,
                  torch._utils._rebuild_tensor_v2,
                  torch._utils._rebuild_parameter, HistoryBuffer, ConfigDict)
}
ALLOWED.update({
    ('builtins', 'getattr'): _getattr,
    ('_codecs', 'encode'): _encode,
    ('numpy', 'dtype'): _dtype,
    ('numpy', 'ndarray'): ARRAY,
})
for _core in ('core', '_core'):  # the names of one module in numpy 1 and 2
    ALLOWED[f'numpy.{_core}.multiarray', 'scalar'] = _scalar
    ALLOWED[f'numpy.{_core}.multiarray', '_reconstruct'] = _empty_array


class AllowListUnpickler(pickle._Unpickler):
    """Python's own unpickler, with names and states restricted."""

    dispatch: ClassVar[dict[int, Callable[..., None]]] = dict(
        pickle._Unpickler.dispatch)
    stack: list  # the base class has it, but not its type hints

    def find_class(self, module: str, name: str) -> Any:
        if module == 'torch' and isinstance(
                getattr(torch, name, None), torch.dtype):
            return getattr(torch, name)
        # protocol 2 keeps Python 2's name of the builtins
        key = (module.replace('__builtin__', 'builtins'), name)
        if key not in ALLOWED:
            raise Refused(f'{module}.{name}')
        return ALLOWED[key]

    def load_build(self) -> None:
        """Give the object on the stack its state, if its type may have one."""
        state = self.stack.pop()
        thing = self.stack[-1]
        if isinstance(thing, np.dtype):
            # the type is complete; a state could only make it wrong
            if state[1] not in ('<', '|', '='):
                raise Refused(f'numpy.dtype of byte order {state[1]!r}')
        elif type(thing) is np.ndarray:
            _, shape, dtype, _, data = state
            if not isinstance(dtype, np.dtype) or not isinstance(data, bytes):
                raise Refused('a numpy array that holds objects')
            thing.__setstate__(state)
        elif type(thing) is collections.OrderedDict and type(state) is dict:
            thing.__dict__.update(state)  # the _metadata of a state_dict
        elif type(thing) in (HistoryBuffer, ConfigDict):
            thing.__setstate__(state)
        else:
            raise Refused(f'a state for a {type(thing).__name__}')

    dispatch[pickle.BUILD[0]] = load_build


# the attributes that torch.load needs in a ``pickle_module``
allow_list_pickle = ModuleType(f'{__name__}.allow_list_pickle')
vars(allow_list_pickle).update(
    Unpickler=AllowListUnpickler,
    load=lambda file, **kwargs: AllowListUnpickler(file, **kwargs).load())
