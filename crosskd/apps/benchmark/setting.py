"""The settings of a measurement, and reading them from a config."""
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from ...configs import is_distilled, model_of, read_config
from ...errors import ConfigValueError, words


@dataclass(frozen=True)
class Setting:
    """The settings of a measurement.

    Args:
        config: file with the config of a distilled detector.
        options: changes to it, by dotted keys, as in ``--cfg-options``.
        size: (height, width) of the images; by default the largest scale in
            the config's training pipeline.
        batch: images per step; by default the config's.
        device: such as ``'cpu'`` or ``'cuda:0'``.
        amp: whether to train as the train tool does with ``--amp``.
        threads: torch's number of threads; by default torch's own choice.
        repeats: how many rounds are counted.
        warm_up: how many rounds run before them.
    """
    config: str
    options: Mapping[str, Any] = field(default_factory=dict)
    size: tuple[int, int] | None = None
    batch: int | None = None
    device: str = 'cpu'
    amp: bool = False
    threads: int | None = None
    repeats: int = 5
    warm_up: int = 2

    def __post_init__(self) -> None:
        for name, low in (('batch', 1), ('threads', 1), ('repeats', 1),
                          ('warm_up', 0)):
            value = getattr(self, name)
            if value is not None and value < low:
                raise ConfigValueError(f'{name} must be at least {low}, '
                                       f'found {value}')
        try:
            torch.zeros(1, device=self.device)
        except (RuntimeError, AssertionError) as e:
            raise ConfigValueError(f'device {self.device!r}: '
                                   f'{words(e).splitlines()[0]}') from None


def read(setting: Setting) -> Config:
    """Read the config, without checkpoints and pretrained weights.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be read, or is not that of a distilled detector.
    """
    cfg = read_config(setting.config, 'CONFIG', options=setting.options)
    init_default_scope(cfg.get('default_scope') or 'mmdet')
    key = f'CONFIG={setting.config!r}'
    model = model_of(cfg, key)
    if not is_distilled(model, key):
        raise ConfigValueError(
            f'{key}: model.type={model.type!r} is not a distilled detector; '
            'expected one, such as CrossKDSingleStageDetector')
    model.teacher_ckpt = 'random'
    _leave_out_pretrained(model)
    cfg.model = model
    return cfg


def batch_size(setting: Setting, cfg: Config) -> int:
    """The number of images per step.

    Raises:
        ValueError: neither the setting nor the config says it.
    """
    loader = cfg.get('train_dataloader') or {}
    size = setting.batch or loader.get('batch_size')
    if size is None:
        raise ConfigValueError(f'{setting.config}: train_dataloader has no '
                               'batch_size; give --batch N')
    return size


def image_size(setting: Setting, cfg: Config, stride: int) -> tuple[int, int]:
    """(height, width) of the images.

    Args:
        setting: may have a size.
        cfg: otherwise, the largest scale of its training pipeline is used.
        stride: the detector's largest.

    Raises:
        ValueError: there is none, or it is too small.
    """
    size = setting.size
    if size is None:
        scales = list(_scales(cfg.get('train_dataloader')))
        if not scales:
            raise ConfigValueError(
                f'{setting.config}: no transform in train_dataloader.dataset '
                'has a scale; give --size H W')
        width, height = max(scales, key=lambda scale: scale[0] * scale[1])
        size = height, width
    # statistics of a level need more than one value per channel
    if min(size) < 2 * stride:
        raise ConfigValueError(
            f'size {size[0]}×{size[1]}: expected sides of at least '
            f"{2 * stride} pixels, twice the detector's largest stride")
    return size


def _scales(cfg: Any) -> Iterator[tuple[int, int]]:
    """(width, height) of the sizes that a config's transforms resize to."""
    if isinstance(cfg, dict):
        if 'Resize' in str(cfg.get('type')):
            scale = cfg.get('scale') or cfg.get('scales') or ()
            several = scale if scale and not isinstance(scale[0], (
                int, float)) else [scale]
            yield from (tuple(one) for one in several if len(one) == 2)
        cfg = cfg.values()
    if not isinstance(cfg, (str, bytes)):
        for one in cfg if hasattr(cfg, '__iter__') else ():
            yield from _scales(one)


def _leave_out_pretrained(cfg: Any) -> None:
    """Remove the names of pretrained weights from a model's config."""
    if isinstance(cfg, dict):
        if isinstance(cfg.get('pretrained'), str):
            cfg['pretrained'] = None
        inits = cfg.get('init_cfg')
        if isinstance(inits, dict) and inits.get('type') == 'Pretrained':
            cfg['init_cfg'] = None
        elif isinstance(inits, (list, tuple)):
            cfg['init_cfg'] = [i for i in inits
                               if i.get('type') != 'Pretrained']
        cfg = list(cfg.values())
    if isinstance(cfg, (list, tuple)):
        for one in cfg:
            _leave_out_pretrained(one)
