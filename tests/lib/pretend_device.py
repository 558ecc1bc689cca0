"""A pretend accelerator, for tests on a machine without one.

Inside ``with pretend_device() as counts:`` tensors on ``DEVICE`` hold their
numbers on the CPU and say that they are elsewhere.  An op on tensors of both
devices is an error, as on a GPU.  Counted are kernels (ops that are no views),
syncs (the host waits for the device) and copies from the host.  What it does
not see: kernels and their determinism, autocast, anything asynchronous,
several devices; and mmengine's InstanceData takes no index of this kind, so
``predict`` does not run here.
"""
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields
from types import SimpleNamespace
from unittest import mock

import torch
from mmcv.ops import deform_conv
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

from crosskd.compat.mmcv_ext import is_installed

DEVICE = torch.device('meta')  # torch knows it, and needs no driver for it
ANY_DEVICE = ('aten.copy_', 'aten._to_copy')
ASKS = ('aten._local_scalar_dense', 'aten.nonzero', 'aten.equal',
        'aten.masked_select', 'aten.is_nonzero', 'aten._unique2',
        'aten.unique_dim', 'aten.repeat_interleave.Tensor')
INDEXED = ('aten.index.', 'aten.index_put', 'aten._index_put')
NO_KERNEL = ('aten._unsafe_view', 'aten.empty', 'aten.new_empty')
# of mmcv, and no ops of torch's
COMPILED = ('deform_conv_forward', 'deform_conv_backward_input',
            'deform_conv_backward_parameters')


@dataclass
class Counts:
    """What one step costs a GPU beside arithmetic."""
    kernels: int = 0
    syncs: int = 0
    copies: int = 0

    def reset(self):
        for field in fields(self):
            setattr(self, field.name, 0)

    def add(self, func, name, args, there, goes):
        """Count an op; ``there``: reads the device, ``goes``: ends there."""
        if name.startswith(ANY_DEVICE):
            source = args[1] if name.startswith('aten.copy_') else args[0]
            comes = isinstance(source, Elsewhere)
            self.syncs += comes and not goes
            self.copies += goes and not comes
        elif there and name.startswith(ASKS):
            self.syncs += 1
        elif there and name.startswith(INDEXED):
            indices = [i for i in args[1] if i is not None]
            self.syncs += any(i.dtype == torch.bool for i in indices)
            self.copies += any(not isinstance(i, Elsewhere) and i.dim()
                               for i in indices)
        view = name.startswith(NO_KERNEL) or any(
            r.alias_info is not None and not r.alias_info.is_write
            for r in func._schema.returns)
        self.kernels += (there or goes) and not view


COUNTS = Counts()


class Elsewhere(torch.Tensor):
    """A tensor on the pretend device, around a tensor on the CPU."""

    __torch_function__ = torch._C._disabled_torch_function_impl
    is_meta = False  # it has numbers

    @staticmethod
    def __new__(cls, numbers):
        return torch.Tensor._make_wrapper_subclass(
            cls, numbers.shape, strides=numbers.stride(),
            storage_offset=numbers.storage_offset(), dtype=numbers.dtype,
            device=DEVICE)

    def __init__(self, numbers):
        self.numbers = numbers

    def __repr__(self):
        return f'Elsewhere({self.numbers})'

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return run(func, args, kwargs or {})


def run(func, args, kwargs):
    """Do an op on the CPU, and put its result where a GPU would put it."""
    name = str(func)
    given = [x for x in tree_flatten((args, kwargs))[0]
             if isinstance(x, torch.Tensor)]
    there = any(isinstance(x, Elsewhere) for x in given)
    if there and not name.startswith(ANY_DEVICE):
        refuse_mixed(name, args, given)
    wanted = kwargs.get('device')
    if wanted is not None:
        there = torch.device(wanted).type == DEVICE.type
        kwargs = dict(kwargs, device=torch.device('cpu'))
    reads = any(isinstance(x, Elsewhere) for x in given)
    if func._schema.is_mutable and given:
        there = isinstance(args[0], Elsewhere)
    COUNTS.add(func, name, args, reads, there)
    out = func(*tree_map(numbers, args), **tree_map(numbers, kwargs))
    if func._schema.is_mutable and out is not None:  # in place: itself
        return args[0]
    return tree_map(elsewhere, out) if there else out


def refuse_mixed(name, args, given):
    if name.startswith(INDEXED):
        # indices may lie on the CPU where what is indexed does not
        given = [x for x in args if isinstance(x, torch.Tensor)]
        if not isinstance(args[0], Elsewhere):
            raise RuntimeError(f'{name}: indices of another device')
    # a number is welcome everywhere
    if any(not isinstance(x, Elsewhere) and x.dim() for x in given):
        raise RuntimeError(f'{name}: tensors on {DEVICE} and on the CPU')


def numbers(x):
    return x.numbers if isinstance(x, Elsewhere) else x


def elsewhere(x):
    return Elsewhere(x) if type(x) is torch.Tensor else x


def compiled(name):
    """A function of mmcv's, which fills tensors that it is given."""
    function = getattr(deform_conv.ext_module, name)

    def fill(*args, **kwargs):
        there = any(isinstance(x, Elsewhere) for x in args)
        if there:
            refuse_mixed(name, args,
                         [x for x in args if isinstance(x, torch.Tensor)])
        COUNTS.kernels += there
        return function(*map(numbers, args), **kwargs)

    return fill


class _Ops(TorchDispatchMode):

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return run(func, args, kwargs or {})


class _FromPython(TorchFunctionMode):
    """What torch does without an op, or not on a device called 'meta'."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if func in (torch.tensor, torch.as_tensor, torch.Tensor.new_tensor):
            device = kwargs.pop('device', None)
            if func is torch.Tensor.new_tensor:
                like, *args = args
                device = like.device if device is None else device
                kwargs.setdefault('dtype', like.dtype)
                func = torch.tensor
            made = func(*args, **kwargs)
            return made if device is None else made.to(device)
        if func is torch.Tensor.__getitem__ and isinstance(args[1], tuple):
            args = (args[0], tuple(
                torch.tensor(list(i)) if isinstance(i, (list, range)) else i
                for i in args[1]))
        if func is torch.Tensor.tolist:
            COUNTS.syncs += isinstance(args[0], Elsewhere)
            return numbers(args[0]).tolist()
        if func is torch.nn.functional.one_hot:  # refuses to look at 'meta'
            return elsewhere(func(*tree_map(numbers, args), **kwargs))
        return func(*args, **kwargs)


@contextmanager
def pretend_device():
    """Inside, ``DEVICE`` exists; what is done on it is counted."""
    COUNTS.reset()
    autocast = torch.autocast
    with ExitStack() as stack:
        # which knows no autocast for this device
        stack.enter_context(mock.patch(
            'torch.autocast', lambda _, **kwargs: autocast('cpu', **kwargs)))
        if not is_installed():
            stack.enter_context(mock.patch.object(
                deform_conv, 'ext_module', SimpleNamespace(
                    **{name: compiled(name) for name in COMPILED})))
        stack.enter_context(_FromPython())
        stack.enter_context(_Ops())
        yield COUNTS


def on_device(inputs, samples):
    """A batch there; the samples are changed."""
    for sample in samples:
        sample.gt_instances = sample.gt_instances.to(DEVICE)
    return inputs.to(DEVICE), samples
