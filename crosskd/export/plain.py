"""The plain config and checkpoint of a trained student."""
import inspect
from pathlib import Path
from typing import Any, NamedTuple

import torch
from mmdet.registry import HOOKS, MODELS
from mmengine.config import Config, ConfigDict
from mmengine.model import revert_sync_batchnorm
from mmengine.runner import save_checkpoint
from torch import nn

from ..checkpoints.loading import load_checkpoint
from ..detectors import DistillationMixin
from ..registry import in_our_scope
from .onnx import check_packages, write_onnx

OURS = 'crosskd'
KEPT_META = ('dataset_meta', 'epoch', 'iter', 'seed', 'time',
             'mmengine_version')


class Exported(NamedTuple):
    """What was written.

    Attributes:
        config, checkpoint: the files.
        before, after: bytes of the checkpoint that was given, and of the new
            one.
        averaged: whether its weights are averages (EMA).
        onnx: the ONNX file, if one was asked for.
        difference: between its outputs and torch's, see
            :func:`~crosskd.export.onnx.write_onnx`.
    """
    config: Path
    checkpoint: Path
    before: int
    after: int
    averaged: bool
    onnx: Path | None
    difference: float


def plain_config(cfg: Config) -> Config:
    """The config of the student without its teacher.

    Its detector is the mmdet class that distillation was added to; whatever
    this package added elsewhere is left out.

    Args:
        cfg: of a distilled detector, or a plain one.
    """
    plain = Config(_without_our_scope(
        cfg.to_dict(), cfg.get('default_scope', 'mmdet')))
    model = ConfigDict(plain.model)
    kind = _class_of(model)
    if issubclass(kind, DistillationMixin):
        base = next(c for c in kind.__mro__
                    if not issubclass(c, DistillationMixin))
        distils = set(inspect.signature(
            DistillationMixin.__init__).parameters) - {'args', 'kwargs'}
        for key in distils & set(model):
            del model[key]
        model.type = base.__name__
    plain.model = model
    imports = plain.get('custom_imports')
    if imports:
        kept = [name for name in imports['imports'] if not _is_ours(name)]
        plain.custom_imports = dict(imports, imports=kept)
        if not kept:
            plain.pop('custom_imports')
    hooks = [h for h in plain.get('custom_hooks') or []
             if not _is_our_hook(h)]
    if 'custom_hooks' in plain:
        plain.custom_hooks = hooks
    plain.load_from, plain.resume = None, False
    return plain


def export_student(cfg: Config, checkpoint: str, folder: str | Path,
                   raw: bool = False, onnx: bool = False) -> Exported:
    """Write the plain config and checkpoint of a trained student.

    Args:
        cfg: its config, distilled or plain.
        checkpoint: path of its checkpoint.
        folder: gets ``student.py`` and ``student.pth``.
        onnx: whether it gets ``student.onnx``, too.
        raw: of a run with mmengine's ``EMAHook``, the weights that were
            trained, in place of their averages, which are what was validated.

    Raises:
        FileNotFoundError: there is no such checkpoint.
        ValueError: it cannot be read, its weights are not those of the
            student, or it has no averages.
    """
    if onnx:
        check_packages()
    plain = plain_config(cfg)
    loaded = load_checkpoint(
        checkpoint, 'CHECKPOINT', 'Export the file that the run wrote')
    averaged = 'ema_state_dict' in loaded
    weights = loaded.get('state_dict', loaded)
    if raw:
        if not averaged:
            raise ValueError(
                f'--raw: {checkpoint} has no averaged weights (no EMAHook '
                'trained it); those that it has are exported without --raw')
        # mmengine saves the averages as state_dict, the others beside them
        weights = _unprefixed(loaded['ema_state_dict'])
    weights = {name: value.detach().clone() if isinstance(
        value, torch.Tensor) else value for name, value in weights.items()}
    detector = _loaded(plain, weights, checkpoint)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    config, file = folder / 'student.py', folder / 'student.pth'
    plain.dump(config)
    meta = {key: value for key, value in (loaded.get('meta') or {}).items()
            if key in KEPT_META}
    # beside, then renamed: a file that was there is not lost half-way
    part = folder / 'student.pth.part'
    save_checkpoint(dict(meta=meta, state_dict=weights), str(part))
    part.replace(file)
    graph, difference = None, 0.0
    if onnx:
        graph = folder / 'student.onnx'
        difference = write_onnx(detector, graph)
    return Exported(config, file, Path(checkpoint).stat().st_size,
                    file.stat().st_size, averaged and not raw, graph,
                    difference)


def _loaded(plain: Config, weights: dict[str, Any],
            checkpoint: str) -> nn.Module:
    """The plain detector with exactly these weights."""
    detector = revert_sync_batchnorm(_built(plain))
    expected = detector.state_dict()
    missing = sorted(expected.keys() - weights.keys())
    unknown = sorted(weights.keys() - expected.keys())
    other = sorted(
        name for name in expected.keys() & weights.keys()
        if expected[name].shape != weights[name].shape)
    for what, names in (('has no', missing), ('has too much:', unknown),
                        ('has another shape of', other)):
        if names:
            raise ValueError(
                f'CHECKPOINT={checkpoint!r} {what} {", ".join(names[:3])}'
                f'{", …" if len(names) > 3 else ""} ({len(names)} in all), so '
                'it is not that of the student in CONFIG')
    detector.load_state_dict(weights)
    return detector.eval()


def _built(plain: Config) -> nn.Module:
    model = ConfigDict(plain.model)
    preprocessor = plain.get('data_preprocessor')
    if preprocessor is not None:  # as the Runner merges it
        model.setdefault('data_preprocessor', preprocessor)
    return MODELS.build(in_our_scope(MODELS, model))


def _class_of(model: ConfigDict) -> type:
    kind = model.type
    if isinstance(kind, str):
        kind = MODELS.get(in_our_scope(MODELS, dict(type=kind))['type'])
    return kind


def _unprefixed(state: dict[str, Any]) -> dict[str, Any]:
    """Weights of mmengine's averaged model, which counts its steps, too."""
    prefix = 'module.'
    return {name.removeprefix(prefix): value for name, value in state.items()
            if name.startswith(prefix)}


def _without_our_scope(part: Any, default: str) -> Any:
    """A part of a config without the scopes that inheriting has left."""
    if isinstance(part, dict):
        kept = {key: _without_our_scope(value, default)
                for key, value in part.items()}
        if kept.get('_scope_') == OURS:
            kept['_scope_'] = 'mmdet'  # what is not ours in it is mmdet's
        if kept.get('_scope_') == default:
            del kept['_scope_']
        return kept
    if isinstance(part, (list, tuple)):
        return type(part)(_without_our_scope(x, default) for x in part)
    return part


def _is_ours(module: str) -> bool:
    return module.partition('.')[0] == OURS


def _is_our_hook(hook: Any) -> bool:
    kind = hook.get('type') if isinstance(hook, dict) else hook
    if isinstance(kind, str):
        kind = HOOKS.get(kind)
    return kind is not None and _is_ours(getattr(kind, '__module__', ''))
