"""The terminal has no overviews, and everything else."""
import io
import logging
import sys

from crosskd.compat.mmengine_logging import keep_overviews_off_terminal


def logger(*handlers):
    """As mmengine's, with a handler for the terminal."""
    made = logging.Logger('of a run')
    for handler in (logging.StreamHandler(sys.stdout), *handlers):
        made.addHandler(handler)
    return made


def test_only_the_terminal_lacks_overviews(capsys, tmp_path):
    """A file has them, and a handler that a user gave the logger."""
    file = logging.FileHandler(tmp_path / 'run.log')
    own = logging.StreamHandler(io.StringIO())
    one = logger(file, own)
    for _ in range(2):  # as for a second Runner of the same name
        keep_overviews_off_terminal(one)
    assert len(one.handlers[0].filters) == 1
    one.info('Config:\nmodel = dict()')
    one.info('\n----\nSystem environment:\n  Python')
    one.info('Config files are read')
    file.close()
    assert capsys.readouterr().out == 'Config files are read\n'
    for text in ((tmp_path / 'run.log').read_text(), own.stream.getvalue()):
        assert 'model = dict()' in text and 'System environment' in text


def test_a_message_that_lacks_arguments_ends_no_training(capsys):
    one = logger()
    keep_overviews_off_terminal(one)
    one.info('%d images', 'some')
    assert '--- Logging error ---' in capsys.readouterr().err
