"""Writing a measurement as a table."""
from typing import Any

from .parts import CROSS_HEAD
from .steps import NAMES

TITLES = dict(student="student's step", teacher="teacher's forward",
              distilled='distilled step')
WORDS = {'student': 'student, its own losses',
         CROSS_HEAD: 'cross-head predictions'}


def format_table(result: dict[str, Any]) -> str:
    """Format a measurement as a table.

    Args:
        result: the result of :func:`~crosskd.apps.benchmark.run_benchmark`.
    """
    height, width = result['size']
    lines = [
        f'{result["batch"]} images of {height}×{width} per step, '
        f'{result["repeats"]} rounds after {result["warm_up"]} to warm up',
        ', '.join(f'{k} {v}' for k, v in result['machine'].items()),
        'types: ' + '; '.join(f'{k} {v}' for k, v in result['types'].items()),
        '', _row('milliseconds', 'median', 'min – max')
    ]
    for name in NAMES:
        lines.append(_times(TITLES[name], result[name]['total']))
        lines += [_times(f'  {WORDS.get(part, part)}', times)
                  for part, times in result[name]['parts'].items()]
    lines += ['', _row('', *(TITLES[name] for name in NAMES))]
    lines.append(_row('images per second', *(
        f'{result[name]["images_per_second"]:.2f}' for name in NAMES)))
    if any('peak_mb' in result[name] for name in NAMES):
        lines.append(_row('peak memory, MB', *(
            f'{result[name]["peak_mb"]:.0f}' if 'peak_mb' in result[name]
            else '' for name in NAMES)))
    lines.append('')
    lines += [_row(k, f'{v:.3f}') for k, v in result['ratios'].items()]
    return '\n'.join(line.rstrip() for line in lines)


def _times(name: str, times: dict[str, float]) -> str:
    return _row(name, f'{times["median"]:.1f}',
                f'{times["min"]:.1f} – {times["max"]:.1f}')


def _row(name: str, *cells: str) -> str:
    return f'{name:<34}' + ''.join(f'{cell:>20}' for cell in cells)
