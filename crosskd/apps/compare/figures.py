"""The figures of every detector."""
from collections.abc import Sequence
from statistics import mean, stdev
from typing import Any

from . import logs
from .evaluation import METRICS, Result
from .roles import Role
from .work_dirs import Group


def rows(groups: Sequence[Group], results: Sequence[Sequence[Result]],
         histories: Sequence[Sequence[list[dict]]], roles: Sequence[Role],
         gains: Sequence[dict[str, Any] | None],
         objects: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row for each group.

    Args:
        groups: the detectors.
        results: the results of every member of every group.
        histories: their logs.
        roles: which detectors are teachers or baselines of others.
        gains: the gain of each detector over its baseline.
        objects: counts of objects and wrong boxes of the first member of
            each group.

    Returns:
        list: rows as they are saved in ``compare.json``.  A metric has the
        ``values`` of all members, their ``mean`` and their sample standard
        deviation ``std`` (None for a single value).
    """
    found = []
    for at, (group, tested) in enumerate(zip(groups, results)):
        times = [t for t in map(logs.step_time, histories[at])
                 if t is not None]
        teacher = roles[at].teacher
        found.append(dict(
            detector=group.name,
            work_dirs=[str(m.folder) for m in group.members],
            checkpoints=[m.checkpoint.name for m in group.members],
            seeds=[m.seed for m in group.members],
            distilled=roles[at].distilled,
            teacher=None if teacher is None else groups[teacher].name,
            metrics={key: _spread([r.metrics[key] for r in tested])
                     for key in METRICS},
            gain=gains[at],
            classes={name: _spread([r.classes[name] for r in tested])
                     for name in tested[0].classes},
            objects=objects[at],
            parameters=tested[0].parameters,
            flops=tested[0].flops,
            inference=tested[0].inference,
            step_time=round(mean(times), 4) if times else None))
    return found


def _spread(values: Sequence[float | None]) -> dict[str, Any]:
    known = [v for v in values if v is not None]
    return dict(
        values=list(values),
        mean=round(mean(known), 2) if known else None,
        std=round(stdev(known), 2) if len(known) > 1 else None)
