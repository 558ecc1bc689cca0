"""The command that writes a distillation config."""
import argparse
import codecs
import shlex
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from typing import Any

from .endings import told_without_traceback

HELP = """\
Write a config with which the student learns from the teacher: by CrossKD if
both have one of the ten heads that crosskd knows, else by PKD, from the
teacher's features alone. Both inputs are plain configs of mmdet's. Both
detectors are built and matched as when training begins. For that TEACHER_CKPT
is read (and downloaded once, if it is a URL). Comments in the config say what
was chosen, and why.
"""
PATHS = """\
Run it in the directory where you will train: teacher_config and teacher_ckpt
are looked up from there. With -o, _base_ is relative to FILE. Without it, the
config goes to standard output, and its _base_ is relative to the working
directory: save it there, or use -o. Configs outside of the working directory
get absolute paths. If the two detectors cannot be a pair, the reason is on
stderr, the exit code is 1, and nothing is written.
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
    """Write a distillation config to a file, or to standard output.

    Raises:
        SystemExit: the two detectors cannot be a pair.
    """
    parser = argparse.ArgumentParser(
        prog=prog, description=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f'{PATHS}\nexample:\n  {prog} my_configs/gfl_r18_own_data.py '
        'my_configs/gfl_r50_own_data.py work_dirs/gfl_r50_own_data/'
        'epoch_12.pth -o my_configs/my.py')
    for name, text in (('student', 'plain config of the student'),
                       ('teacher', 'plain config of the teacher'),
                       ('checkpoint', 'path or URL of its checkpoint')):
        parser.add_argument(name, help=text, metavar={
            'checkpoint': 'TEACHER_CKPT'}.get(name, f'{name.upper()}_CONFIG'))
    parser.add_argument(
        '-o', '--out', metavar='FILE',
        help='where the config is written; a file that is there already is '
        'replaced (default: standard output)')
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
    with told_without_traceback(prog, 'interrupted; nothing was written'):
        # what mmengine and a config print is no part of the result
        with redirect_stdout(sys.stderr):
            # not for other commands: it imports mmdet's models
            from ..recipes import check_output, make_config, write_whole
            file = args.out and check_output(args.out, dict(
                STUDENT_CONFIG=args.student, TEACHER_CONFIG=args.teacher))
            text = make_config(args.student, args.teacher, args.checkpoint,
                               file and file.parent, args.classes,
                               args.teacher_classes)
        if file:
            write_whole(file, text, args.out)
            print(f'{args.out}: written; train it from this directory: '
                  f'python -m crosskd train {shlex.quote(args.out)}')
        else:
            print(_encodable(text), end='')


def _encodable(text: str) -> str:
    """The text of a config, as a file that mmengine reads: in UTF-8."""
    if codecs.lookup(sys.stdout.encoding or 'utf-8').name == 'utf-8':
        return text
    # in strings of Python, what this makes is the same character
    return text.encode('ascii', 'backslashreplace').decode()
