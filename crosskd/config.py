"""Translating ``kd_cfg`` into a pair and its distillers."""
from collections.abc import Collection, Iterable
from typing import Any

from .arguments import check_has_type, check_known, naming, one_of
from .distillers import Distiller, Distillers
from .distillers.base import PREDICTIONS, build_distiller
from .distillers.predictions import OUTPUTS
from .distillers.schedules import Schedule
from .errors import ConfigTypeError, ConfigValueError
from .pairs import DensePair, Pair
from .pairs.dense_pair import SPLIT
from .pairs.pair import ADAPTER
from .registry import SCHEDULES

LOCATION_LOSSES = tuple(OUTPUTS)
SDD_KEYS = ('sdd_regions', 'sdd_weighting')
KEYS = (*LOCATION_LOSSES, 'loss_sdd', 'loss_feat_kd',
        'reused_teacher_head_idx', 'prediction', 'region', *SDD_KEYS,
        'adapter', 'classes', 'teacher_classes', 'distillers', 'schedule',
        'inherit')


def read_kd_cfg(kd_cfg: dict | None, required: Collection[str],
                prediction: str) -> tuple[Pair, Distillers]:
    """Build what ``kd_cfg`` describes.

    Its keys; None means the default:

    - ``loss_cls_kd``, ``loss_reg_kd``, ``loss_center_kd``, ``loss_obj_kd``,
      ``region``: see
      :class:`~crosskd.distillers.PredictionDistiller`.
    - ``loss_sdd``, ``sdd_regions``, ``sdd_weighting``: see
      :class:`~crosskd.distillers.RegionDistiller`.
    - ``loss_feat_kd``: see :class:`~crosskd.distillers.FeatureDistiller`.
    - ``distillers``: a list of configs of further distillers, such as those
      of another package.
    - ``prediction``: whose predictions imitate the teacher's:
      ``'cross_head'`` or the ``'student'``'s own.
    - ``reused_teacher_head_idx``: where the heads are cut for cross-head
      predictions: the student's first *i* layers are followed by the
      teacher's layers after its *i*-th.  Two numbers (student, teacher) if
      the heads have different depths.
    - ``adapter``: config of the layer that converts the student's features to
      the teacher's channels, by default
      :class:`~crosskd.pairs.ChannelAdapter`.
    - ``classes``: the teacher's names for some of the student's classes:
      ``dict(pedestrian='person')``.
    - ``teacher_classes``: names of the teacher's classes, for checkpoints
      without class names.
    - ``schedule``: by the name of a loss, config of a schedule that multiplies
      its weight during the run, such as
      ``dict(loss_cls_kd=dict(type='LinearWarmup', iters=500))``; or a list of
      such configs.  See :mod:`crosskd.distillers.schedules`.
    - ``inherit``: names of modules, such as ``('neck', 'bbox_head')``, whose
      weights the student starts from, see :func:`read_inherit`.

    Args:
        kd_cfg: a dict with these keys.
        required: keys of losses that must be there.
        prediction: default of ``prediction``.

    Returns:
        tuple: a :class:`~crosskd.pairs.DensePair` if predictions are
        distilled, else a :class:`~crosskd.pairs.Pair`; and the distillers.

    Raises:
        TypeError, ValueError: a key, a loss or the split cannot be used; the
            message names the key, what was found and what was expected.
    """
    if not isinstance(kd_cfg, dict):
        raise ConfigTypeError(f'kd_cfg must be a dict, found {kd_cfg!r}')
    for key in kd_cfg:
        check_known('kd_cfg', key, KEYS)
    given = {k: v for k, v in kd_cfg.items() if v is not None}
    for key in required:
        if key not in given:
            raise ConfigValueError(
                f'kd_cfg: {key} is missing; expected a dict '
                "with the 'type' of a loss")
    if 'loss_sdd' not in given:
        for key in SDD_KEYS:
            if key in given:
                raise ConfigValueError(
                    f'kd_cfg.{key} needs kd_cfg.loss_sdd, which '
                    'is missing')
    whose = one_of('kd_cfg.prediction', given.get('prediction', prediction),
                   PREDICTIONS)
    distillers = Distillers(_distillers(given, whose), _schedules(given))
    if not list(distillers.children()):
        raise ConfigValueError(
            'kd_cfg: nothing is distilled; expected one of '
            f'{", ".join(k for k in KEYS if "loss" in k)} or '
            'distillers')
    names = _synonyms(given), _names(given)  # checked in any case
    if not distillers.needs.dense:
        return Pair(_adapter(given)), distillers
    split = _split(given) if distillers.needs.cross_head else None
    return DensePair(split, _adapter(given), *names), distillers


def read_inherit(kd_cfg: dict) -> tuple[str, ...]:
    """The modules whose weights the student takes over from the teacher.

    Args:
        kd_cfg: as for :func:`read_kd_cfg`, after it.

    Raises:
        TypeError: ``inherit`` is not a tuple or list of names.
    """
    found: Any = kd_cfg.get('inherit')
    if found is None:
        return ()
    if not isinstance(found, (list, tuple)) or not all(
            isinstance(name, str) and name for name in found):
        raise ConfigTypeError(
            'kd_cfg.inherit must be a tuple of names of modules, such as '
            f"('neck', 'bbox_head'), found {found!r}")
    return tuple(found)


def _distillers(given: dict, prediction: str) -> dict[str, Distiller]:
    built = {}

    def add(name: str, kind: str, keys: Iterable[str], **kwargs: str) -> None:
        cfg = {key: given[key] for key in keys if key in given}
        if any(key.startswith('loss') for key in cfg):
            built[name] = build_distiller(
                'kd_cfg', dict(cfg, type=kind, **kwargs))

    add('predictions', 'PredictionDistiller', (*LOCATION_LOSSES, 'region'),
        prediction=prediction)
    add('regions', 'RegionDistiller', ('loss_sdd', *SDD_KEYS),
        prediction=prediction)
    add('features', 'FeatureDistiller', ('loss_feat_kd', ))
    more = given.get('distillers', [])
    if not isinstance(more, (list, tuple)):
        raise ConfigTypeError(
            'kd_cfg.distillers must be a list of configs, found '
            f'{more!r}')
    for index, cfg in enumerate(more):
        built[f'further_{index}'] = build_distiller(
            f'kd_cfg.distillers[{index}]', cfg)
    return built


def _schedules(given: dict) -> dict[str, list[Schedule]]:
    cfgs = given.get('schedule', {})
    if not isinstance(cfgs, dict):
        raise ConfigTypeError('kd_cfg.schedule must be a dict from the names '
                              f'of losses to configs, found {cfgs!r}')
    built = {}
    for name, cfg in cfgs.items():
        key = f'kd_cfg.schedule.{name}'
        built[name] = [_schedule(f'{key}[{index}]', one)
                       for index, one in enumerate(cfg)] if isinstance(
                           cfg, (list, tuple)) else [_schedule(key, cfg)]
    return built


def _schedule(key: str, cfg: Any) -> Schedule:
    check_has_type(key, cfg)
    check_known(key, cfg['type'], SCHEDULES.module_dict)
    arguments = {k: v for k, v in cfg.items() if k != 'type'}
    with naming(f'{key}: '):
        schedule = SCHEDULES.module_dict[cfg['type']](**arguments)
    if not isinstance(schedule, Schedule):
        raise ConfigTypeError(f'{key}: expected a Schedule, found '
                              f'{type(schedule).__name__}')
    return schedule


def _split(given: dict) -> tuple[int, int]:
    found = given.get('reused_teacher_head_idx')
    both = found if isinstance(found, (list, tuple)) else (found, found)
    if len(both) != 2 or any(
            isinstance(n, bool) or not isinstance(n, int) for n in both):
        raise ConfigTypeError(
            f'{SPLIT} must be an integer (how many tower layers the student '
            'keeps), or two integers if the heads differ (how many layers '
            "the student keeps, how many of the teacher's are skipped), found "
            f'{found!r}; losses with a weight of 0 need it, too, unless they '
            'are None')
    return both[0], both[1]


def _adapter(given: dict) -> dict:
    cfg = given.get('adapter', ADAPTER)
    check_has_type('kd_cfg.adapter', cfg)
    return cfg


def _synonyms(given: dict) -> dict[str, str]:
    classes = given.get('classes', {})
    if not isinstance(classes, dict) or not all(
            isinstance(name, str) for pair in classes.items()
            for name in pair):
        raise ConfigTypeError(
            'kd_cfg.classes must be a dict from student to teacher names, '
            f"such as dict(pedestrian='person'), found {classes!r}")
    return classes


def _names(given: dict) -> tuple[str, ...] | None:
    names: Any = given.get('teacher_classes')
    if names is not None and (not isinstance(names, (list, tuple)) or not all(
            isinstance(name, str) for name in names)):
        raise ConfigTypeError(
            'kd_cfg.teacher_classes must be a tuple of names, '
            f'found {names!r}')
    return None if names is None else tuple(names)
