"""Run other command-line tools of mmdet with crosskd registered."""
import runpy
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from ...errors import ConfigFileNotFoundError
from ...names import did_you_mean_path
from .endings import told_without_traceback
from .flags import CONFIG, config_file

# found without importing it
MMDET = getattr(find_spec('mmdet'), 'origin', None)
TOOLS = Path(MMDET or 'mmdet').parent / '.mim' / 'tools'
# these are commands of crosskd
OF_THEIR_OWN = ('train.py', 'test.py')


def run_mmdet(argv: Sequence[str], prog: str) -> None:
    """Run another tool of mmdet's, or list them.

    Raises:
        SystemExit: with 2 if there is no such tool.
    """
    tools = available()
    name = argv[0] if argv else '--help'
    if name in ('-h', '--help'):
        print(
            f'usage: {prog} TOOL [arguments]\n\nRun a tool that comes with '
            'MMDetection, on configs that use crosskd. TOOL --help\nshows its '
            'arguments.'
            f'\n\nexample:\n  {prog} analysis_tools/get_flops.py \\\n'
            f'      crosskd::crosskd/{CONFIG}.py\n\ntools:\n  ',
            '\n  '.join(tools), sep='')
    elif name in tools:
        run(name, argv[1:], f'{prog} {name}')
    else:
        near = did_you_mean_path(name, tools)
        print(f'{prog}: mmdet has no tool {name!r}{near or "."} '
              f'{prog} --help lists all of them', file=sys.stderr)
        sys.exit(2)


def available() -> list[str]:
    """The other tools, by their paths below mmdet's tools folder."""
    files = sorted(
        path for path in TOOLS.rglob('*.py')
        if '__main__' in path.read_text(encoding='utf-8'))
    names = [path.relative_to(TOOLS).as_posix() for path in files]
    return [name for name in names if name not in OF_THEIR_OWN]


def run(tool: str, argv: Sequence[str], prog: str) -> None:
    """Run a tool of mmdet's in this process, as if Python had started it.

    Checkpoints are loaded through the allow-list, even if the tool calls
    ``torch.load``.

    Args:
        tool: path below mmdet's tools folder, such as
            ``'analysis_tools/get_flops.py'``.
        argv: its arguments; a config may come from an installed package, as
            in ``'crosskd::crosskd/….py'``.
        prog: how it was called.

    Raises:
        FileNotFoundError: the installed mmdet comes without its tools.
        SystemExit: a package has no config of that name, or the config
            cannot be used; the message says why.
    """
    path = TOOLS / tool
    if not path.is_file():
        raise ConfigFileNotFoundError(
            f"mmdet's {tool} is not at {path}; install "
            'mmdet as a package or in editable mode')
    from ... import registration  # noqa: F401
    from ...compat.cpu_ranks import with_gloo
    from ...compat.mmengine_checkpoints import restrict_mmengine
    from ...compat.seaborn_styles import provide_seaborn_styles
    from ...compat.torch_load import restricted_torch
    sys.argv = [prog, *with_gloo([*map(config_file, argv)])]
    restrict_mmengine()
    if tool == 'analysis_tools/analyze_logs.py':
        provide_seaborn_styles()
    with told_without_traceback(prog, with_type=True), restricted_torch():
        runpy.run_path(str(path), run_name='__main__')
