"""What mmdet says of its own optional parts is not on the terminal."""
import logging
import subprocess
import sys
import warnings

import mmengine.logging

from crosskd.compat.mmdet_notices import silence_notices


def test_one_notice_is_not_printed(capsys, log):
    """And a user's own messages are, whatever their level."""
    mmengine.logging.print_log('Could not import OneDL. Skipping OneDL data '
                               'sets.', level=logging.DEBUG)
    mmengine.logging.print_log('of interest', level=logging.DEBUG)
    mmengine.logging.print_log('to a logger', 'current')
    assert capsys.readouterr().out.splitlines()[:1] == ['of interest']
    assert log.messages == ['to a logger']


def test_two_warnings_are_ignored_and_others_are_not(monkeypatch):
    # called again, it wraps again
    monkeypatch.setattr(mmengine.logging, 'print_log',
                        mmengine.logging.print_log)
    with warnings.catch_warnings(record=True) as seen:
        warnings.resetwarnings()
        silence_notices()
        for said in ('faster_coco_eval is not installed, metrics will not be',
                     'DeprecationWarning: `num_anchors` is deprecated, for',
                     'faster_coco_eval is too old'):
            warnings.warn(said, stacklevel=1)
    assert [str(w.message) for w in seen] == ['faster_coco_eval is too old']


def test_mmdets_data_sets_and_evaluation_are_imported_silently():
    """In a process of its own; this one has imported them before."""
    out = subprocess.run(
        [sys.executable, '-c', 'import crosskd, mmdet.datasets, '
         'mmdet.evaluation'], text=True, check=True, capture_output=True)
    assert 'OneDL' not in out.stdout + out.stderr
    assert 'faster_coco_eval' not in out.stderr
