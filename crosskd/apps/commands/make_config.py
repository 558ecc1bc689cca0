"""The command that writes a distillation config."""
import argparse
import codecs
import os
import stat
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from .endings import told_without_traceback

HELP = """\
Print a config with which one detector learns from another: by CrossKD if both
have one of the ten heads, else by PKD, from the teacher's features alone. Both
configs are plain ones of mmdet's, on whatever data the student's config has.
The two are built, and matched as when training begins; TEACHER_CKPT is read
for that, and downloaded once if it is a URL. What was chosen and bridged, and
why, is in comments.
"""
PATHS = """\
Run it where you will train: teacher_config and teacher_ckpt are looked up
from there. _base_ is relative to the file that the output goes to, or, where
it goes through a pipe, to the working directory; configs outside of that
directory get absolute paths. What cannot work is refused with the reason, on
stderr, with exit code 1; the shell will have made an empty file by then.
"""


class _Synonyms(argparse.Action):
    """STUDENT=TEACHER, …, as a dict."""

    def __call__(self, parser: argparse.ArgumentParser,
                 namespace: argparse.Namespace, values: Any,
                 option_string: str | None = None) -> None:
        # the option may be there several times
        found = dict(getattr(namespace, self.dest) or {})
        for value in values:
            ours, sign, theirs = value.partition('=')
            if not sign:
                parser.error(f'{option_string}: expected {self.metavar}, '
                             f'found {value!r}')
            if found.setdefault(ours, theirs) != theirs:
                parser.error(f'{option_string}: two names for {ours!r}: '
                             f'{found[ours]!r} and {theirs!r}')
        setattr(namespace, self.dest, found)


def run_make_config(argv: Sequence[str], prog: str) -> None:
    """Write a distillation config to standard output.

    Raises:
        SystemExit: the two detectors cannot be a pair.
    """
    parser = argparse.ArgumentParser(
        prog=prog, description=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f'{PATHS}\nexample:\n  {prog} my_configs/gfl_r18_own_data.py '
        'my_configs/gfl_r50_own_data.py work_dirs/gfl_r50_own_data/'
        'epoch_12.pth > my_configs/my.py')
    for name, text in (('student', 'plain config of the student'),
                       ('teacher', 'plain config of the teacher'),
                       ('checkpoint', 'path or URL of its checkpoint')):
        parser.add_argument(name, help=text, metavar={
            'checkpoint': 'TEACHER_CKPT'}.get(name, f'{name.upper()}_CONFIG'))
    parser.add_argument(
        '--classes', nargs='+', action=_Synonyms, metavar='STUDENT=TEACHER',
        help="the teacher's names for classes of the student: "
        "kd_cfg.classes; put names with a space in quotes: "
        "'red light=signal'")
    parser.add_argument(
        '--teacher-classes', nargs='+', metavar='NAME',
        help="names of all of the teacher's classes, in its order: "
        'kd_cfg.teacher_classes (default: those that TEACHER_CKPT says)')
    args = parser.parse_args(argv)
    with told_without_traceback(prog):
        # what mmengine and a config print is no part of the result
        with redirect_stdout(sys.stderr):
            # not for other commands: it imports mmdet's models
            from ..recipes import make_config
            text = make_config(args.student, args.teacher, args.checkpoint,
                               _folder_of_output(), args.classes,
                               args.teacher_classes)
    print(_encodable(text), end='')


def _encodable(text: str) -> str:
    """The text of a config, as a file that mmengine reads: in UTF-8."""
    if codecs.lookup(sys.stdout.encoding or 'utf-8').name == 'utf-8':
        return text
    # in strings of Python, what this makes is the same character
    return text.encode('ascii', 'backslashreplace').decode()


def _folder_of_output() -> Path:
    """Of the file that standard output goes to, as Linux tells it."""
    link = Path('/proc/self/fd/1')
    try:
        if stat.S_ISREG(os.fstat(1).st_mode):
            return Path(os.readlink(link)).parent
    except OSError:
        pass
    return Path.cwd()
