"""Loading a teacher's checkpoint strictly."""
import re
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mmengine.logging import print_log
from torch import Tensor, nn

from ..arguments import few
from ..errors import ConfigValueError

# torch's wrappers (compile, activation checkpointing, FSDP) appear in names
WRAPPERS = re.compile(r'(^|(?<=\.))(_orig_mod|_checkpoint_wrapped_module|'
                      r'_fsdp_wrapped_module)\.')
# counters that thop and torch put into layers; they are not weights
COUNTS = ('total_ops', 'total_params', 'num_batches_tracked')
DEPTH = 2  # of dicts in dicts; the state of an optimizer lies deeper


def classes_of(checkpoint: dict) -> tuple[str, ...] | None:
    """Names of the classes that a checkpoint was trained on, if it says."""
    meta = checkpoint.get('meta')
    if not isinstance(meta, dict):
        return None
    # mmdet 2 kept them in the meta itself
    dataset = {**meta, **(meta.get('dataset_meta') or {})}
    classes = dataset.get('classes', dataset.get('CLASSES'))
    return tuple(classes) if isinstance(classes, (list, tuple)) else None


@dataclass
class Reading:
    """Weights in a checkpoint that may be those of a detector.

    Attributes:
        where: the keys of the dicts around them.
        prefix: the start of their names.
        weights: by name, without the prefix.
        others: names of weights in the same dict that lack the prefix.
        versions: of the layers, which use them to rename old keys.
    """
    where: tuple[str, ...]
    prefix: str
    weights: OrderedDict[str, Tensor]
    others: list[str]
    versions: dict | None

    @property
    def is_plain(self) -> bool:
        """Whether mmengine would also read the weights from there."""
        return self.where in ((), ('state_dict', )) and self.prefix in (
            '', 'module.')

    def __str__(self) -> str:
        names = f'names that begin with {self.prefix!r}' if self.prefix else ''
        return ': '.join(filter(None, ('.'.join(self.where), names)))


def load_strictly(detector: nn.Module, checkpoint: dict, found: str,
                  config: str = 'teacher_config') -> None:
    """Load weights; missing, misshapen and unexpected weights are errors.

    Weights that are not finite (from a training that diverged) are errors,
    too, and so are integer or complex numbers in place of real ones (from a
    quantised detector).

    It reads mmengine's ``state_dict``, with or without ``module.`` before the
    names.  If that does not fit, it reads the only other dict or prefix that
    fits.  Weights outside the parts of the detector
    (``data_preprocessor.mean``, ``ema_…``) and counters in layers
    (``total_ops``) are left out, and the log says so.  All other weights that
    no layer has are errors: a deeper backbone has all weights of a shallow
    one.

    Args:
        detector: gets the weights.
        checkpoint: holds them.
        found, config: names of the checkpoint and of the detector's config,
            for messages.

    Raises:
        ValueError: no set of weights fits, or more than one does.
    """
    readings = list(_readings(checkpoint, detector))
    if not readings:
        raise ConfigValueError(f'{found}: holds no weights (its keys: '
                               f'{few(sorted(map(str, checkpoint)))})')
    problems = [_load(detector, reading) for reading in readings]
    name = type(detector).__name__
    fitting = [r for r, found in zip(readings, problems) if not found]
    chosen = [r for r in fitting if r.is_plain] or fitting
    if not chosen:
        own = detector.state_dict().keys()
        best = max(range(len(readings)),
                   key=lambda i: len(own & readings[i].weights.keys()))
        at = '' if readings[best].is_plain else str(readings[best])
        raise ConfigValueError(
            f'{found} does not fit the model of {config} ({name})'
            f'{at and f", read from {at}"}: ' + '; '.join(problems[best]))
    if len(chosen) > 1:
        raise ConfigValueError(
            f'{found}: more than one set of its weights fits the model of '
            f'{config} ({name}): {"; ".join(map(str, chosen))}. Expected '
            'one: save the set that you want to a new file, as '
            "dict(state_dict=…) with the detector's parameter names")
    (taken, ) = chosen
    if readings[-1] is not taken:
        _load(detector, taken)
    _tell(detector, taken, fitting, found)


def _readings(checkpoint: dict, detector: nn.Module) -> Iterator[Reading]:
    own, parts = detector.state_dict(), _parts(detector)
    for where, saved in _dicts(checkpoint):
        weights = {WRAPPERS.sub('', str(k)): v for k, v in saved.items()
                   if isinstance(v, Tensor)}
        prefixes = set()
        for name in weights:
            words = name.split('.')
            prefixes |= {'.'.join([*words[:i], '']) for i, word in
                         enumerate(words) if word in parts
                         and '.'.join(words[i:]) in own}
        # without any, the message about missing weights uses plain names
        for prefix in sorted(prefixes) or ['']:
            versions = getattr(saved, '_metadata', None)
            yield Reading(
                where, prefix,
                OrderedDict((k.removeprefix(prefix), v) for k, v
                            in weights.items() if k.startswith(prefix)),
                [k for k in weights if not k.startswith(prefix)],
                versions and {f'{WRAPPERS.sub("", k + ".")}'.removeprefix(
                    prefix).removesuffix('.'): v for k, v in versions.items()})


def _dicts(saved: dict, where: tuple[str, ...] = ()
           ) -> Iterator[tuple[tuple[str, ...], dict]]:
    """Every dict that holds tensors, and the keys that lead to it."""
    if any(isinstance(v, Tensor) for v in saved.values()):
        yield where, saved
    for key, value in saved.items():
        if isinstance(value, dict) and len(where) < DEPTH:
            yield from _dicts(value, (*where, str(key)))


def _parts(detector: nn.Module) -> set[str]:
    """Parts that have weights, or would have them if the detector had them."""
    children = {name for name, _ in detector.named_children()}
    return children - {'data_preprocessor'} | {'backbone', 'neck', 'bbox_head'}


def _is_left_out(key: str, parts: set[str]) -> bool:
    words = key.split('.')
    return words[0] not in parts or words[-1] in COUNTS


def _load(detector: nn.Module, reading: Reading) -> list[str]:
    """Load the weights that fit, and return what is wrong with the others."""
    own, parts, weights = detector.state_dict(), _parts(detector), (
        reading.weights)
    misshapen = [
        f'{k} {tuple(v.shape)}, expected {tuple(own[k].shape)}'
        for k, v in weights.items() if k in own and v.shape != own[k].shape
    ]
    others = [
        f'{k} ({v.dtype}), expected {own[k].dtype}' for k, v in weights.items()
        if k in own and own[k].is_floating_point()
        and not v.is_floating_point()
    ]
    fitting: Any = OrderedDict(
        (k, v) for k, v in weights.items() if not (
            k in own and v.shape != own[k].shape))
    # layers use the version in it to decide whether to rename old keys
    fitting._metadata = reading.versions
    try:
        result = detector.load_state_dict(fitting, strict=False)
    except RuntimeError as e:  # a renamed key with a different shape
        return [' '.join(str(e).split())]
    # mmengine's own loader ignores these, too
    missing = [k for k in result.missing_keys
               if 'num_batches_tracked' not in k and k not in weights]
    unexpected = [k for k in result.unexpected_keys
                  if not _is_left_out(k, parts)]
    outside = [k for k in result.unexpected_keys if _is_left_out(k, parts)]
    infinite = [k for k, v in own.items()  # as they are loaded
                if v.is_floating_point() and not v.isfinite().all()]
    problems = [
        _counted(kind, keys) for kind, keys in (
            ('missing', missing), ('unexpected', unexpected),
            ('misshapen', misshapen), ('of another type', others),
            ('not finite', infinite)) if keys
    ]
    if problems and outside:
        problems.append(_counted('left out', outside))
    return problems


def _tell(detector: nn.Module, taken: Reading, fitting: list[Reading],
          found: str) -> None:
    """Log what was read, unless it was all of a plain state dict."""
    said = []
    if not taken.is_plain:
        said.append(f'read from {taken}')
    others = [str(r) or 'its own names' for r in fitting if r is not taken]
    if others:
        said.append(f'{", ".join(others)} would fit, too, but '
                    'was not used')
    parts = _parts(detector)
    own = detector.state_dict().keys()
    left_out = taken.others + [taken.prefix + k for k in taken.weights
                               if k not in own and _is_left_out(k, parts)]
    if left_out:
        said.append('left out '
                    + _counted('that no layer has', left_out))
    if said:
        print_log(f'{found}: {"; ".join(said)}', logger='current')


def _counted(kind: str, keys: list[str]) -> str:
    return f'{len(keys)} {kind}: {few(keys, 3, str)}'
