"""Fusing the batch norms of a frozen detector into its convolutions."""
import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_weights

from ..numerics.randomness import untouched_randomness
from ..numerics.same_function import same_function
from ..taps import HEAD_INPUT
from .probe import exact_copy, has_hooks, pattern

SIDE = 256  # two locations per side at stride 128: a norm needs two values


class FusedNorms:
    """The batch norms of a detector, fused into the convolutions before them.

    As in mmcv, a norm belongs to the convolution registered before it, which
    is not always the order in which layers run.  So a copy of the detector
    runs before and after fusing, on a test input; no norm is fused if the
    results differ.

    A layer is not fused while it has hooks.  When weights with norms are
    loaded, the norms come back, and they are fused again in the next run.  A
    state dict of fused layers is loaded as it is.
    """

    def __init__(self) -> None:
        self._pairs: list[_Pair] | None = None
        self._count = 0

    def settle(self, detector: nn.Module, fuse: bool, channels: int,
               parts: Sequence[str]) -> str:
        """Fuse layers without hooks, and undo it for layers with hooks.

        Args:
            detector: in eval mode, the same each time; its layers are
                replaced in place.
            fuse: whether to fuse any.
            channels: of the images.
            parts: names of its parts that run, one after the other.

        Returns:
            str: what has changed, for the log; empty if nothing has.
        """
        first = self._pairs is None
        if first:
            if not fuse:
                return ''
            self._count = sum(isinstance(m, _BatchNorm)
                              for m in _modules(detector, parts))
            self._pairs = list(_pairs_of(detector, parts))
            objection = (_objection(detector, channels, parts)
                         if self._pairs else '')
            if objection:
                self._pairs = []
                return (f'its {self._count} batch norms are not fused: '
                        f'{objection}')
            for pair in self._pairs:
                pair.watch_loading()
        changed = [pair for pair in self._pairs or ()
                   if pair.is_fused != (fuse and not pair.has_hooks)]
        for pair in changed:
            if pair.is_fused:
                pair.undo()
            else:
                pair.fuse()
        if changed:
            self._free(detector)
        if not changed and not (first and self._count):
            return ''
        return (f'{sum(p.is_fused for p in self._pairs or ())} of its '
                f'{self._count} batch norms are fused into convolutions')

    def _free(self, detector: nn.Module) -> None:
        """Move the layers that fusing replaced to the host; they do not run.
        """
        used = {id(p) for p in detector.parameters()}
        for pair in self._pairs or ():
            for layer in (pair.conv, pair.norm):
                if not used & {id(p) for p in layer.parameters()}:
                    layer.cpu()


class _Pair:
    """A convolution and the norm of its output, in one module.

    The stand-ins for the two layers share their hooks, also hooks that are
    registered later.
    """

    def __init__(self, owner: nn.Module, names: tuple[str, str],
                 conv: nn.Conv2d, norm: _BatchNorm) -> None:
        self._owner, self._names = owner, names
        self.conv, self.norm = conv, norm
        self._instead: tuple[nn.Conv2d, nn.Identity] | None = None

    @property
    def is_fused(self) -> bool:
        return self._instead is not None

    @property
    def has_hooks(self) -> bool:
        return has_hooks(self.conv) or has_hooks(self.norm)

    def fuse(self) -> None:
        weight, norm = self.conv.weight, self.norm
        parts: list[Any] = [x if x is None else x.detach().double() for x in (
            weight, self.conv.bias, norm.running_mean, norm.running_var,
            norm.weight, norm.bias)]
        conv, identity = copy.copy(self.conv), nn.Identity().eval()
        conv._parameters = conv._parameters.copy()
        conv.weight, conv.bias = (
            # computed exactly, then rounded once
            nn.Parameter(x.detach().to(weight.dtype), requires_grad=False)
            for x in fuse_conv_bn_weights(
                parts[0], parts[1], parts[2], parts[3], norm.eps, parts[4],
                parts[5]))
        vars(identity).update({name: value for name, value in
                               vars(norm).items() if 'ward_' in name})
        self._put(conv, identity)
        self._instead = conv, identity

    def undo(self) -> None:
        if self._instead is None:
            return
        weight = self._instead[0].weight
        for layer, other in zip((self.conv, self.norm), self._instead):
            layer.to(weight.device, weight.dtype)
            layer._is_full_backward_hook = (layer._is_full_backward_hook
                                            or other._is_full_backward_hook)
        self._put(self.conv, self.norm)
        self._instead = None

    def watch_loading(self) -> None:
        self._owner._register_load_state_dict_pre_hook(self._before_loading)

    def _before_loading(self, state: Mapping[str, Any], prefix: str,
                        *_: Any) -> None:
        conv, norm = (prefix + name for name in self._names)
        if {f'{conv}.weight', f'{norm}.running_mean'} <= state.keys():
            self.undo()

    def _put(self, *layers: nn.Module) -> None:
        self._owner._modules.update(zip(self._names, layers))


def _modules(detector: nn.Module, parts: Sequence[str]) -> Iterator[nn.Module]:
    for name in parts:
        yield from getattr(detector, name).modules()


def _pairs_of(detector: nn.Module, parts: Sequence[str]) -> Iterator[_Pair]:
    for owner in _modules(detector, parts):
        before = None
        for name, layer in owner.named_children():
            if isinstance(layer, _BatchNorm):
                if before is not None and _is_affine(layer):
                    yield _Pair(owner, (before[0], name), before[1], layer)
                before = None
            elif isinstance(layer, nn.Conv2d):
                before = (name, layer) if _is_linear(layer) else None


def _is_linear(conv: nn.Conv2d) -> bool:
    """Whether it computes what torch's does, with a weight parameter."""
    return (type(conv).forward is nn.Conv2d.forward
            and type(conv)._conv_forward is nn.Conv2d._conv_forward
            and 'forward' not in vars(conv)
            and {'weight', 'bias'} <= conv._parameters.keys())


def _is_affine(norm: _BatchNorm) -> bool:
    """The same for a norm, which must use its running statistics."""
    return (type(norm).forward in (_BatchNorm.forward,
                                   nn.SyncBatchNorm.forward)
            and 'forward' not in vars(norm)
            and {'weight', 'bias'} <= norm._parameters.keys()
            and norm.running_mean is not None and not norm.training)


def _objection(detector: nn.Module, channels: int,
               parts: Sequence[str]) -> str:
    """Why fusing is wrong; empty if it is right."""
    device = next(detector.parameters()).device
    images = pattern(1, channels, SIDE, SIDE, device=device)
    try:
        with untouched_randomness():
            copied = exact_copy(detector)
            before = _maps(copied, images, parts)
            for pair in _pairs_of(copied, parts):
                pair.fuse()
            same = all(map(same_function, before,
                           _maps(copied, images, parts)))
    except Exception as e:
        return f'a copy of it does not run in float64 ({type(e).__name__})'
    return '' if same else 'that would change its predictions'


def _maps(detector: Any, images: Tensor, parts: Sequence[str]) -> list[Tensor]:
    """The outputs of the parts for images."""
    features = detector.extract_feat(images)
    if HEAD_INPUT.module not in parts:
        return list(features)
    outputs = detector.bbox_head(features)
    return [*features, *(x for levels in outputs for x in levels)]
