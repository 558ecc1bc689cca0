"""Arguments shared by several commands; nothing here imports torch."""
import argparse
import re
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ...names import did_you_mean_named

CONFIG = 'crosskd_r18_gflv1_r50_fpn_1x_coco'
HOW_TO_CHANGE = (
    'change keys of the config, for example train_cfg.max_epochs=1. Lists: '
    'key="[a,b]" or key=a,b. Nested lists: key="[(a,b),(c,d)]", in quotation '
    'marks and without spaces')


class Changes(argparse.Action):
    """mmengine's ``DictAction``, imported only if the option is given."""

    def __call__(self, parser: argparse.ArgumentParser,
                 namespace: argparse.Namespace, values: Any,
                 option_string: str | None = None) -> None:
        for value in values:
            if '=' not in value:
                parser.error(f'{option_string}: expected KEY=VALUE, '
                             f'found {value!r}')
        from mmengine.config import DictAction
        DictAction(self.option_strings, self.dest, nargs='+')(
            parser, namespace, values, option_string)


def add_changes(parser: argparse.ArgumentParser, default: Any = None) -> None:
    """Add ``--cfg-options``."""
    parser.add_argument('--cfg-options', nargs='+', action=Changes,
                        default=default, metavar='KEY=VALUE',
                        help=HOW_TO_CHANGE)


def parser_of(prog: str, description: str,
              example: str) -> argparse.ArgumentParser:
    """A parser with the flags that mmdet's train and test tools share.

    Args:
        prog: how the command was called.
        description: what it does, in one sentence.
        example: the end of its ``--help``.
    """
    parser = argparse.ArgumentParser(
        prog=prog, description=description, epilog=example,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        'config', type=config_file,
        help="config file: a path, or a config of an installed package "
        "('crosskd::crosskd/….py')")
    parser.add_argument(
        '--work-dir', help='folder for logs, checkpoints and metrics '
        "(default: the config's work_dir, or work_dirs/NAME_OF_THE_CONFIG)")
    add_changes(parser)
    parser.add_argument(
        '--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='program that starts the processes (default: none)')
    # torch's launcher passes --local-rank since 2.0, and --local_rank before
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0,
                        help='number of this process on its machine (set '
                        'by the launcher)')
    return parser


def config_file(word: str) -> str:
    """The file of ``'package::….py'``; other arguments are returned as is."""
    named = re.fullmatch(r'(\w+)::(.+\.py)', word)
    if not named:
        return word
    spec = find_spec(named[1])
    if spec is None or not spec.origin:
        sys.exit(f'{word}: there is no package {named[1]}'
                 f'{did_you_mean_named(named[1], named[2])}')
    file = Path(spec.origin).parent / '.mim' / 'configs' / named[2]
    if not file.is_file():
        sys.exit(f'{word}: no such config; looked for {file}'
                 f'{did_you_mean_named(named[1], named[2])}')
    return str(file)
