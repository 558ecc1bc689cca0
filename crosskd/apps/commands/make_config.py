"""The command that writes distillation configs."""
import argparse
import codecs
import os
import shlex
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from typing import Any

from .endings import told_without_traceback

HELP = """\
Write the configs that train a student with a teacher. There are two ways.

With --data: a new folder with four configs for your own data. teacher.py
trains the teacher, student.py trains the student without a teacher, and
distilled.py trains the student with the teacher. data.py holds the settings
that you may want to change.

With STUDENT_CONFIG and TEACHER_CONFIG: one config that trains this student
with this teacher. Both are ordinary mmdet configs; they may be of mmengine's
pure Python style. The data is the student's.

Either way, crosskd builds both detectors and checks that they fit. If crosskd
supports the heads of both, it uses CrossKD. Otherwise it uses PKD, which only
needs the teacher's features. If the two do not fit, you are told why, and
nothing is written.
"""
DATA = """\
DATA is a folder with images and annotations in COCO format: train.json and
val.json, annotations/instances_train….json and instances_val….json, or
train/_annotations.coco.json and valid/_annotations.coco.json. If there is
only one annotation file, a fifth of its images is held out for validation.
If the data is in Pascal VOC or YOLO format, you get the command that
converts it."""


class _Synonyms(argparse.Action):
    """STUDENT=TEACHER, …, as a dict."""

    def __call__(self, parser: argparse.ArgumentParser,
                 namespace: argparse.Namespace, values: Any,
                 option_string: str | None = None) -> None:
        # the option may be given several times
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
    """Write a folder of configs, or one config to a file or standard output.

    Raises:
        SystemExit: the data cannot be read, or the two detectors do not fit.
    """
    parser = _parser(prog)
    args = parser.parse_args(argv)
    _check(parser, args)
    with told_without_traceback(prog, 'interrupted; nothing was written'):
        _write_folder(args) if args.data else _write_one(args)


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog, description=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage=f'{prog} --data DATA --out FOLDER [--student CONFIG]\n'
        '           [--teacher CONFIG [--teacher-ckpt FILE]] [--trial]\n'
        f'       {prog} STUDENT_CONFIG TEACHER_CONFIG\n'
        '           [TEACHER_CKPT] [-o FILE]',
        epilog=f'examples:\n  {prog} --data data/own --out my_configs\n'
        f'  {prog} my_student.py my_teacher.py \\\n'
        '      work_dirs/my_teacher/epoch_12.pth -o distilled.py')
    own = parser.add_argument_group('your own data', DATA)
    own.add_argument('--data', metavar='DATA', help='folder with your data')
    own.add_argument(
        '--student', metavar='CONFIG',
        help='any mmdet config: a path, or mmdet::… (default: GFL with a '
        'ResNet-18)')
    own.add_argument(
        '--teacher', metavar='CONFIG',
        help='the same for the teacher (default: GFL with a ResNet-50). If '
        'mmdet publishes weights for this config, the teacher starts from '
        'them')
    own.add_argument(
        '--teacher-ckpt', metavar='FILE',
        help='checkpoint of a teacher that you have already trained, with '
        '--teacher as its config; no teacher.py is written')
    own.add_argument(
        '--trial', action='store_true',
        help='train for one epoch on 40 images, to see that it works')
    one = parser.add_argument_group('two configs of yours')
    for name, text in (('student', "the student's config"),
                       ('teacher', "the teacher's config")):
        one.add_argument(f'{name}_config', nargs='?', help=text,
                         metavar=f'{name.upper()}_CONFIG')
    one.add_argument(
        'checkpoint', nargs='?', metavar='TEACHER_CKPT',
        help="path or URL of the teacher's checkpoint; not needed for "
        'mmdet::… configs with published weights')
    both = parser.add_argument_group('for both')
    both.add_argument(
        '-o', '--out', metavar='FOLDER|FILE',
        help='with --data: the folder for the configs. With two configs: the '
        'file to write, which is replaced if it exists (without -o, the '
        'config is printed). Paths in that file are relative to the current '
        'directory, so train from here')
    both.add_argument(
        '--classes', nargs='+', action=_Synonyms, metavar='STUDENT=TEACHER',
        help='classes to which the teacher gives another name '
        "(kd_cfg.classes). Quote names with spaces: 'red light=signal'")
    both.add_argument(
        '--teacher-classes', nargs='+', metavar='NAME',
        help="names of all of the teacher's classes, in the teacher's order "
        '(kd_cfg.teacher_classes; default: the names in its checkpoint)')
    return parser


def _check(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Check which arguments are given together."""
    if args.data is None:
        for option in ('student', 'teacher', 'teacher_ckpt', 'trial'):
            if getattr(args, option):
                parser.error(f'--{option.replace("_", "-")} needs --data')
        if args.teacher_config is None:
            parser.error('expected --data DATA, or STUDENT_CONFIG and '
                         'TEACHER_CONFIG')
        return
    if args.student_config is not None:
        parser.error(f'found {args.student_config!r} together with --data; '
                     'name configs with --student and --teacher')
    if args.out is None:
        parser.error('--data needs --out FOLDER')
    if (args.classes or args.teacher_classes) and not args.teacher_ckpt:
        parser.error('--classes and --teacher-classes need --teacher-ckpt: '
                     'teacher.py has the classes of your data')


def _write_folder(args: argparse.Namespace) -> None:
    # what mmengine and a config print is not part of the result
    with redirect_stdout(sys.stderr):
        # imported here because it imports mmdet's models
        from ..recipes import write_configs
        made = write_configs(
            args.data, args.out, args.student, args.teacher,
            args.teacher_ckpt, args.trial, args.classes, args.teacher_classes)
    print(f'Written to {args.out}: {", ".join(made.files)}')
    for line in made.said:
        print(f'- {line}')
    folder = shlex.quote(args.out)
    alone = shlex.quote(os.path.join(args.out, 'distilled.py'))
    print(f'\nNext: look at {os.path.join(args.out, "data.py")}. Then train '
          'the teacher, and the student\nwithout and with it, and compare '
          f'them:\n  python -m crosskd distil {folder} --alone\n'
          'Or train one detector at a time'
          + (', the teacher first' if 'teacher.py' in made.files else '')
          + ':\n'
          + (f'  python -m crosskd train '
             f'{shlex.quote(os.path.join(args.out, "teacher.py"))}\n'
             if 'teacher.py' in made.files else '')
          + f'  python -m crosskd train {alone}')


def _write_one(args: argparse.Namespace) -> None:
    with redirect_stdout(sys.stderr):
        from ..recipes import check_output, make_config, write_whole
        file = args.out and check_output(args.out, dict(
            STUDENT_CONFIG=args.student_config,
            TEACHER_CONFIG=args.teacher_config))
        text = make_config(
            args.student_config, args.teacher_config, args.checkpoint,
            file and file.parent, args.classes, args.teacher_classes)
    if file:
        write_whole(file, text, args.out)
        print(f'Written to {args.out}. Train it from this directory:\n'
              f'  python -m crosskd train {shlex.quote(args.out)}')
    else:
        print(_encodable(text), end='')


def _encodable(text: str) -> str:
    """The text of a config in an encoding that mmengine can read."""
    if codecs.lookup(sys.stdout.encoding or 'utf-8').name == 'utf-8':
        return text
    # in a Python string, these escapes are the same characters
    return text.encode('ascii', 'backslashreplace').decode()
