"""How much better a detector is than another, and how certain that is."""
import json
from collections.abc import Mapping, Sequence
from statistics import mean, stdev
from typing import Any

import numpy as np

from ..progress import Progress
from . import resampling
from .data import TestSet
from .evaluation import Result
from .judging import Judged
from .roles import Role
from .work_dirs import Group

# keys of a config that also change the AP
TRAINING = ('train_cfg', 'train_dataloader', 'optim_wrapper',
            'param_scheduler', 'custom_hooks', 'load_from')


def gains(groups: Sequence[Group], results: Sequence[Sequence[Result]],
          roles: Sequence[Role], judged: Sequence[Mapping[Any, Judged]],
          data: TestSet) -> list[dict[str, Any] | None]:
    """The gain of every detector that has a baseline.

    Args:
        groups: the detectors.
        results: the results of every training of each detector.
        roles: the baseline of each detector.
        judged: the detections of the first training of each detector, by
            image id.
        data: the test set.

    Returns:
        list: a dict for each detector, None without a baseline: ``over`` (the
        baseline's name), ``AP`` (difference of the means in percent),
        ``by_seed`` and their sample standard deviation ``std`` (None unless
        both were trained with the same seeds, two or more), ``interval``
        (of the difference, over resampled images), ``images``,
        ``resamples``, ``coverage`` in percent, ``unlike`` (keys of the
        training in which the configs differ), objects ``gained`` and
        ``lost``, and ``classes`` with the difference in each class.
    """
    used = {at for at, role in enumerate(roles) if role.baseline is not None}
    used |= {role.baseline for role in roles if role.baseline is not None}
    sampled = dict(zip(sorted(used), _resampled(
        [results[at] for at in sorted(used)], data)))
    found: list[dict[str, Any] | None] = []
    for at, role in enumerate(roles):
        if role.baseline is None:
            found.append(None)
            continue
        ours, theirs = results[at], results[role.baseline]
        by_seed = _by_seed(groups[at], ours, groups[role.baseline], theirs)
        found.append(dict(
            over=groups[role.baseline].name,
            AP=_difference([r.metrics['AP'] for r in ours],
                           [r.metrics['AP'] for r in theirs]),
            by_seed=by_seed,
            std=round(stdev(by_seed), 2) if by_seed else None,
            interval=resampling.interval(
                sampled[at] - sampled[role.baseline]),
            images=len(data.sizes), resamples=resampling.RESAMPLES,
            coverage=resampling.COVERAGE,
            unlike=_unlike(groups[at], groups[role.baseline]),
            **_objects(judged[at], judged[role.baseline]),
            classes={name: _difference([r.classes[name] for r in ours],
                                       [r.classes[name] for r in theirs])
                     for name in ours[0].classes}))
    return found


def _resampled(results: Sequence[Sequence[Result]],
               data: TestSet) -> list[np.ndarray]:
    """AP on resampled images, as the mean over a detector's trainings."""
    if not results:
        return []
    weights = resampling.draws(len(data.sizes))
    progress = Progress('resampling the test images',
                        sum(map(len, results)), 'trainings')
    done, found = 0, []
    for trainings in results:
        values = []
        for one in trainings:
            values.append(resampling.average_precision(resampling.match(
                data.content, one.every_box(), list(data.names)), weights))
            done += 1
            progress.at(done)
        found.append(np.mean(values, axis=0))
    return found


def _difference(ours: Sequence[float | None],
                theirs: Sequence[float | None]) -> float | None:
    means = [[v for v in values if v is not None] for values in (ours, theirs)]
    if not all(means):
        return None
    return round(mean(means[0]) - mean(means[1]), 1)


def _by_seed(ours: Group, tested: Sequence[Result], theirs: Group,
             others: Sequence[Result]) -> list[float] | None:
    """The gain for each seed, if both were trained with the same seeds."""
    ap, other = (
        {member.seed: result.metrics['AP']
         for member, result in zip(group.members, results)}
        for group, results in ((ours, tested), (theirs, others)))
    if (ap.keys() != other.keys() or len(ap) < 2
            or len(ap) < max(len(tested), len(others))
            or None in {*ap.values(), *other.values()}):
        return None
    return [round(ap[seed] - other[seed], 1)  # type: ignore[operator]
            for seed in ap]


def _unlike(ours: Group, theirs: Group) -> list[str]:
    texts = [json.dumps([one.members[0].cfg.get(key) for key in TRAINING],
                        default=str) for one in (ours, theirs)]
    return [key for key, *both in zip(TRAINING, *map(json.loads, texts))
            if both[0] != both[1]]


def _objects(ours: Mapping[Any, Judged],
             theirs: Mapping[Any, Judged]) -> dict[str, int]:
    pairs = [(ours[number].right, theirs[number].right) for number in ours]
    return dict(gained=sum(len(a - b) for a, b in pairs),
                lost=sum(len(b - a) for a, b in pairs))
