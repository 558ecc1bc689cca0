"""Files that are not UTF-8, and terminals that are not."""
import io
import json
import os
import re
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout

import pytest
import torch
from experiments import experiment, write
from helpers import build, plain_cfg
from mmengine.config import Config

from conftest import REPO
from crosskd.apps.commands import main, train
from crosskd.apps.compare.logs import history
from crosskd.data_checks.coco_file import read_json
from crosskd.engine.resuming import choose_checkpoint
from crosskd.errors import for_users

NAMES = ('猫', 'Ärger', 'c')
ENCODINGS = ('ascii', 'cp1252', 'utf-8')
TOOLS = sorted(f for f in (REPO / 'tools').glob('*.py')
               if f.name != 'free_port.py')


def in_terminal(encoding, *argv):
    """What a command writes to standard output and error, in bytes."""
    out, error = (io.TextIOWrapper(io.BytesIO(), encoding=encoding)
                  for _ in range(2))
    with redirect_stdout(out), redirect_stderr(error):
        try:
            main(argv)
        except SystemExit as e:
            print(e.code)
    out.flush()
    error.flush()
    return out.buffer.getvalue(), error.buffer.getvalue()


@pytest.mark.parametrize('encoding', ENCODINGS)
def test_any_character_can_be_printed(encoding, monkeypatch):
    monkeypatch.setattr(train, 'run_train', lambda argv, prog: print(
        prog, *argv, 'Ä → ± ✓'))
    out, _ = in_terminal(encoding, 'train', '猫')
    said = out.decode(encoding)
    assert said.startswith('python -m crosskd train ')
    expected = '猫 Ä → ± ✓'.encode(encoding, 'backslashreplace')
    assert expected.decode(encoding) in said
    _, error = in_terminal(encoding, '猫')
    assert b'The commands are demo' in error


@pytest.mark.parametrize('encoding', ENCODINGS)
@pytest.mark.parametrize('command', [
    'demo', 'compare', 'make_config', 'benchmark', 'export'])
def test_help_is_printed(encoding, command):
    assert b'usage: ' in in_terminal(encoding, command, '--help')[0]


@pytest.mark.parametrize('encoding', ENCODINGS)
def test_a_made_config_is_utf8_whatever_the_terminal(
        encoding, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    student = experiment(plain_cfg('gfl'))
    student['train_dataloader']['dataset']['metainfo'] = dict(classes=NAMES)
    write(tmp_path / 'student.py', student)
    write(tmp_path / 'teacher.py', dict(model=plain_cfg('gfl')))
    torch.save(dict(state_dict=build(plain_cfg('gfl')).state_dict()), 't.pth')
    out, _ = in_terminal(encoding, 'make_config', 'student.py', 'teacher.py',
                         't.pth', '--teacher-classes', 'x', *NAMES[:2])
    (tmp_path / 'made.py').write_bytes(out)
    made = Config.fromfile('made.py')
    assert made.model.kd_cfg.teacher_classes == ('x', *NAMES[:2])


@pytest.mark.parametrize('tool', TOOLS, ids=lambda f: f.stem)
def test_tools_are_the_commands(tool):
    assert 'main([' in tool.read_text()


@pytest.mark.slow
def test_a_tool_in_ascii():
    done = subprocess.run(
        [sys.executable, REPO / 'tools/train.py', '猫.py'],
        capture_output=True, text=True, check=False, env=dict(
            os.environ, PYTHONIOENCODING='ascii', PYTHONPATH=str(REPO)))
    assert 'UnicodeEncodeError' not in done.stderr
    assert '.py' in done.stderr


# -- files --------------------------------------------------------------------


def test_a_log_with_bytes_that_are_no_utf8(tmp_path):
    file = tmp_path / 'x/vis_data/scalars.json'
    file.parent.mkdir(parents=True)
    file.write_bytes(b'{"lr": 0.1, "loss": 2.0, "step": 1}\n'
                     b'{"lr": 0.1, "\xff\xe9": 2.0, "loss": 1.5, "step": 2}\n'
                     b'\x80\x81 broken\n'
                     b'{"lr": 0.1, "loss": 1.2, "step": [2]}\n'
                     b'{"lr": 0.1, "loss": 1.2, "step": null}\n'
                     b'{"lr": 0.1, "loss": 1.0, "step": 3}\n')
    assert [e['loss'] for e in history(tmp_path)] == [2.0, 1.5, 1.0]


@pytest.mark.parametrize('encoding, words', [
    ('utf-8-sig', 'begins with a byte order mark, .*save it as UTF-8 without'),
    ('utf-16', 'not JSON, or truncated, or not in UTF-8'),
    ('latin-1', 'not JSON, or truncated, or not in UTF-8 .*0xc4')])
def test_annotations_in_another_encoding(tmp_path, encoding, words):
    file = tmp_path / 'train.json'
    file.write_bytes(json.dumps(
        dict(categories=[dict(id=1, name='Ärger')]), ensure_ascii=False
    ).encode(encoding))
    with pytest.raises(ValueError, match=words):
        read_json('ann_file', str(file))


@pytest.mark.parametrize('folder', ['猫', os.fsdecode(b'\xe9')])
def test_a_note_of_the_last_checkpoint_in_any_bytes(tmp_path, folder):
    """Of a work directory that was moved: the file lies beside the note."""
    path = tmp_path / 'last.pth'
    torch.save(dict(state_dict={}, meta=dict(epoch=1, iter=1), optimizer={},
                    message_hub={}), path)
    (tmp_path / 'last_checkpoint').write_bytes(
        os.fsencode(f'/gone/{folder}/last.pth'))
    assert choose_checkpoint(str(tmp_path)) == str(path)


@pytest.mark.parametrize('content, words', [
    (b"names = ('\xc4rger', )\n", "UnicodeDecodeError: .*0xc4.*UTF-8"),
    (b'\xef\xbb\xbfnames = 1\n', '.*U.FEFF.*UTF-8 without a byte order mark')])
@pytest.mark.parametrize('heir', [False, True])
def test_a_config_in_another_encoding(tmp_path, content, words, heir):
    file = tmp_path / 'own.py'
    file.write_bytes(content)
    (tmp_path / 'heir.py').write_text("_base_ = 'own.py'\n")
    named = re.escape(repr(str(file)))
    with pytest.raises(ValueError, match=f'config {named}: {words}'), (
            for_users()):
        Config.fromfile(tmp_path / ('heir.py' if heir else 'own.py'))


def test_names_of_classes_in_another_encoding(tmp_path):
    from crosskd.data_checks.classes import classes_of
    from crosskd.data_checks.leaves import leaves
    file = tmp_path / 'classes.txt'
    dataset = dict(type='CocoDataset', ann_file='a.json',
                   metainfo=dict(classes=str(file)))
    leaf, = leaves('train_dataloader.dataset', dataset)
    file.write_bytes('猫\nÄrger\n'.encode())
    assert classes_of(leaf) == ('猫', 'Ärger')
    file.write_bytes(b'\xc4rger\n')
    with pytest.raises(ValueError, match='metainfo.classes=.*classes.txt.*: '
                       'expected names in UTF-8, one per line'):
        classes_of(leaf)
