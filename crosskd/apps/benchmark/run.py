"""Running a measurement and summarising it."""
from collections.abc import Sequence
from statistics import median
from typing import Any

from .machine import machine
from .memory import peak
from .setting import Setting
from .silence import silence
from .steps import NAMES, Steps
from .timeline import Timeline

TRAINED = ('student', 'distilled')


def run_benchmark(setting: Setting, memory: bool = True) -> dict[str, Any]:
    """Measure student, teacher and the distilled detector.

    The three take turns in one process, so that other work on the machine
    slows all of them equally.

    Args:
        setting: what to measure.
        memory: whether to measure memory, too, in separate processes.

    Returns:
        dict: the output of ``--json``.

    Raises:
        FileNotFoundError, TypeError, ValueError: it cannot be measured.
    """
    with silence():
        steps = Steps(setting)
        rounds = [{name: steps.run(name) for name in NAMES}
                  for _ in range(setting.warm_up + setting.repeats)]
        result: dict[str, Any] = dict(
            config=setting.config, options=dict(setting.options),
            batch=steps.batch, size=list(steps.size), device=setting.device,
            amp=setting.amp, repeats=setting.repeats, warm_up=setting.warm_up,
            machine=machine(steps.device), types=steps.types)
        del steps
    for name in NAMES:
        counted = [one[name] for one in rounds[setting.warm_up:]]
        result[name] = _summary(counted, result['batch'])
        if memory and name in TRAINED:
            result[name]['peak_mb'] = peak(setting, name)
    result['ratios'] = ratios(result)
    return result


def ratios(result: dict[str, Any]) -> dict[str, float]:
    """The cost of distillation, as ratios of medians."""
    student, teacher, distilled = (
        result[name]['total']['median'] for name in NAMES)
    return {
        'distilled / (student + teacher)': distilled / (student + teacher),
        'distilled / student': distilled / student
    }


def _summary(timelines: Sequence[Timeline], batch: int) -> dict[str, Any]:
    total = _spread([t.milliseconds for t in timelines])
    parts = [t.parts() for t in timelines]
    return dict(
        total=total, images_per_second=1e3 * batch / total['median'],
        parts={name: _spread([one[name] for one in parts])
               for name in parts[0]})


def _spread(values: Sequence[float]) -> dict[str, float]:
    return dict(median=median(values), min=min(values), max=max(values))
