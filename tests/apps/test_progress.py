"""How far a long step is: said on a terminal, seldom in a file."""
import io
import sys

import pytest
from data_sets import check, loader
from mmengine.logging import MMLogger

from crosskd.apps import progress
from crosskd.data_checks import check as data_check


class Screen(io.StringIO):
    """What is printed; ``lives`` as a terminal does."""

    def __init__(self, lives):
        super().__init__()
        self.isatty = lambda: lives


@pytest.mark.parametrize('lives, seconds, said', [
    (False, 0.1, []),
    (False, 10.0, ['evaluates x: 3 of 5 images, 0:20 left',
                   'evaluates x: 5 of 5 images, 0:00 left']),
    (True, 0.1, []),
    (True, 10.0, [f'evaluates x: {n} of 5 images, 0:{50 - 10 * n:02d} left'
                  for n in range(1, 6)])])
def test_a_long_step_says_how_far_it_is(monkeypatch, lives, seconds, said):
    clock = [0.0]
    monkeypatch.setattr(progress.time, 'monotonic', lambda: clock[0])
    monkeypatch.setattr(sys, 'stderr', Screen(lives))
    step = progress.Progress('evaluates x', 5, 'images')
    for done in range(1, 6):
        clock[0] += seconds
        step.at(done)
    printed = sys.stderr.getvalue()
    # a terminal has one line, which ends when the step does
    assert printed.count('\n') == (bool(said) if lives else len(said))
    lines = printed.replace('\r\x1b[2K', '\n').split('\n')
    assert [line for line in lines if line] == said


def test_a_large_annotation_file_is_spoken_of(shapes_root, monkeypatch,
                                              caplog):
    monkeypatch.chdir(shapes_root)
    logger = MMLogger.get_current_instance()
    monkeypatch.setattr(logger, 'handlers', [caplog.handler])
    caplog.set_level('INFO', logger.name)
    check(loader())
    assert 'checking' not in caplog.text
    monkeypatch.setattr(data_check, 'LARGE', 0)
    check(loader())
    assert ("train_dataloader.dataset.ann_file='data/shapes/train.json': "
            'checking 0 MB' in caplog.text)
