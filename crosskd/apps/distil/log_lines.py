"""Reading a training's output: its progress, and why it ended."""
import re
import signal
from collections.abc import Sequence

# mmengine's LogProcessor, by epoch and by iteration
BY_EPOCH = r'Epoch\(train\) +\[(?P<epoch>\d+)\]'
BY_ITERATION = r'Iter\(train\) +'
TRAINING = re.compile(rf'(?:{BY_EPOCH}|{BY_ITERATION})'
                      r'\[ *(?P<done>\d+)/(?P<of>\d+)\].*'
                      r'eta: (?P<left>.*?)  .* loss: (?P<loss>[\d.]+|nan|inf)')
AP = re.compile(r'bbox_mAP_copypaste: (-?[\d.]+)')
# what mmdet's metric says in place of an AP
NOTHING = 'The testing results of the whole dataset is empty'
WARNING = re.compile(r' - WARNING - (.*)')

TRACEBACK = 'Traceback (most recent call last):'
# what endings.told_without_traceback prints
MESSAGE = re.compile(r'(?:\w+\.)*[A-Z]\w*(?:Error|Exception|Interrupt): ')
# a line of mmengine's log, of a warning, or of torch's launcher
OTHER = re.compile(r'\d\d/\d\d \d\d:\d\d:\d\d - |.*\bUserWarning: |'
                   r'[EWI]\d{4} \d\d:|\[rank\d+\]|=+$|' + re.escape(TRACEBACK))
LAST = 20


def progress(line: str) -> str | None:
    """The progress or the warning of a line, if it has one."""
    step = TRAINING.search(line)
    if step:
        epoch = f'epoch {step["epoch"]}, ' if step['epoch'] else ''
        return (f'{epoch}{step["done"]} of {step["of"]} steps, loss '
                f'{float(step["loss"]):.2f}, {step["left"]} left')
    found = AP.search(line)
    if found:
        ap = float(found[1])
        return f'AP {100 * ap:.1f}' if ap >= 0 else 'nothing detected yet'
    if NOTHING in line:
        return 'nothing detected yet'
    warning = WARNING.search(line)
    return f'warning: {warning[1]}' if warning else None


def reason(lines: Sequence[str], code: int) -> str:
    """Why a training ended.

    Args:
        lines: what it printed last, each with its line break.
        code: its exit code.

    Returns:
        str: the error message if training was refused, else the last twenty
        lines, or that it was killed.
    """
    for first, line in enumerate(lines):
        if line.startswith(TRACEBACK):
            break  # a bug: the traceback is needed
        if MESSAGE.match(line):
            rest = lines[first + 1:]
            end = next((at for at, each in enumerate(rest)
                        if OTHER.match(each) or MESSAGE.match(each)),
                       len(rest))
            return ''.join([line, *rest[:end]]).rstrip()
    # 128 and more is what a shell makes of it
    if code in (-signal.SIGKILL, 128 + signal.SIGKILL):
        return ('was killed, often because memory ran out. Run the same '
                'command again to continue.')
    last = ''.join(lines[-LAST:]).rstrip()
    return f'failed with exit code {code}. Its last lines:\n{last}'
