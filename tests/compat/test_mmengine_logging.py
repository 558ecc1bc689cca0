"""The terminal has no overviews, and everything else."""
import io
import logging
import sys

import pytest

from crosskd.compat.mmengine_logging import keep_overviews_off_terminal


@pytest.fixture
def logger(tmp_path, capsys):
    """As mmengine's, and with a handler that a user gave it."""
    made = logging.Logger('of a run')
    handlers = [logging.StreamHandler(sys.stdout), logging.FileHandler(
        tmp_path / 'run.log'), logging.StreamHandler(io.StringIO())]
    for handler in handlers:
        made.addHandler(handler)
    yield made
    for handler in handlers:
        handler.close()


def test_only_the_terminal_lacks_overviews(logger, capsys, tmp_path):
    for _ in range(2):  # as for a second Runner of the same name
        keep_overviews_off_terminal(logger)
    assert len(logger.handlers[0].filters) == 1
    logger.info('Config:\nmodel = dict()')
    logger.info('\n----\nSystem environment:\n  Python')
    logger.info('Config files are read')
    assert capsys.readouterr().out == 'Config files are read\n'
    for text in ((tmp_path / 'run.log').read_text(),
                 logger.handlers[2].stream.getvalue()):
        assert 'model = dict()' in text and 'System environment' in text


def test_a_message_that_lacks_arguments_ends_no_training(logger, capsys):
    keep_overviews_off_terminal(logger)
    logger.info('%d images', 'some')
    assert '--- Logging error ---' in capsys.readouterr().err
