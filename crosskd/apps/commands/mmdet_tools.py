"""Run mmdet's own command-line tools with crosskd registered."""
import argparse
import ast
import re
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import mmdet
import torch

from ...checkpoints.loading import load_from_allow_list
from ...compat.cpu_ranks import use_gloo
from ...compat.mmengine_checkpoints import restrict_mmengine
from ...compat.seaborn_styles import provide_seaborn_styles
from ...errors import (
    ConfigError,
    ConfigFileNotFoundError,
    describe,
    for_users,
)

TOOLS = Path(mmdet.__file__).parent / '.mim' / 'tools'
# they are commands of their own
OF_THEIR_OWN = ('train.py', 'test.py')


def available() -> list[str]:
    """The other tools, by their paths below mmdet's tools folder."""
    files = sorted(
        path for path in TOOLS.rglob('*.py')
        if '__main__' in path.read_text(encoding='utf-8'))
    names = [path.relative_to(TOOLS).as_posix() for path in files]
    return [name for name in names if name not in OF_THEIR_OWN]


def run(tool: str, argv: Sequence[str], prog: str, example: str = '') -> None:
    """Run a tool of mmdet's in this process.

    Checkpoints are loaded through the allow-list, and training has this
    package's :class:`~crosskd.engine.runner.Runner`, unless the config has a
    ``runner_type`` of its own.

    Args:
        tool: path below mmdet's tools folder, such as ``'train.py'``.
        argv: its arguments; a config may be that of an installed package, as
            in ``'crosskd::crosskd/….py'``.
        prog: how it was called, for its usage line.
        example: end of its ``--help``.

    Raises:
        FileNotFoundError: the installed mmdet comes without its tools.
        SystemExit: a package has no config of that name; or the config
            cannot be used, for the reason that is said.
    """
    path = TOOLS / tool
    if not path.is_file():
        raise ConfigFileNotFoundError(
            f"mmdet's {tool} is not at {path}; install "
            'mmdet as a package or in editable mode')
    sys.argv = [prog, *map(config_file, argv)]
    use_gloo(sys.argv)
    restrict_mmengine()
    if tool == 'analysis_tools/analyze_logs.py':
        provide_seaborn_styles()
    module = ModuleType(f'mmdet_{path.stem}')
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # its functions may be pickled
    tree = ast.parse(path.read_bytes())
    guards = [node for node in tree.body
              if isinstance(node, ast.If) and _asks_for_main(node)]
    _execute([node for node in tree.body if node not in guards], module)
    _change_names(module, prog, example)
    if tool == 'train.py':
        # not above: mmdet's data sets warn of what they lack when imported
        from ...engine.runner import Runner
        vars(module)['Runner'] = Runner
    try:
        with for_users():
            for guard in guards:
                _execute(guard.body, module)
    except KeyboardInterrupt:
        goes_on = ('; the same command with --resume continues from the last '
                   'checkpoint' if tool == 'train.py' else '')
        print(f'{prog}: interrupted{goes_on}', file=sys.stderr)
        sys.exit(130)
    except ConfigError as e:
        # where it was raised is of no use to who wrote the config
        sys.exit(describe(e))


def config_file(word: str) -> str:
    """The file of ``'package::….py'``; another argument is left as it is."""
    named = re.fullmatch(r'(\w+)::(.+\.py)', word)
    if not named:
        return word
    spec = find_spec(named[1])
    if spec is None or not spec.origin:
        sys.exit(f'{word}: there is no package {named[1]}')
    file = Path(spec.origin).parent / '.mim' / 'configs' / named[2]
    if not file.is_file():
        sys.exit(f'{word}: no such config; looked for {file}')
    return str(file)


def _asks_for_main(node: ast.If) -> bool:
    return ast.unparse(node.test) == "__name__ == '__main__'"


def _execute(statements: list[ast.stmt], module: ModuleType) -> None:
    code = compile(ast.Module(statements, []), str(module.__file__), 'exec')
    exec(code, vars(module))  # noqa: S102  -- mmdet's own


class _Changed(ModuleType):
    """A module with other things under some names, for one tool alone."""

    def __init__(self, module: ModuleType, **changes: Any) -> None:
        super().__init__(module.__name__)
        self._module = module
        vars(self).update(changes)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)


def _change_names(module: ModuleType, prog: str, example: str) -> None:
    """Let the tool's parser say how it was called, and end with an example.

    And what it loads with torch go through the allow-list.
    """

    def parser(*args: Any, **kwargs: Any) -> argparse.ArgumentParser:
        made = argparse.ArgumentParser(*args, **kwargs)
        made.prog = prog
        if example:
            made.epilog = example
            made.formatter_class = argparse.RawDescriptionHelpFormatter
        return made

    changed = {
        'argparse': _Changed(argparse, ArgumentParser=parser),
        'ArgumentParser': parser,
        'torch': _Changed(torch, load=load_from_allow_list),
    }
    names = vars(module)
    names.update({k: v for k, v in changed.items() if k in names})
