"""``python -m crosskd`` and the scripts of ``tools/``: the same commands."""
import os
import re
import signal
import subprocess
import sys
import time

import pytest
from experiments import same_weights
from processes import python
from tool_output import metrics
from tool_server import MAIN
from tool_server import run as tool

import crosskd
from conftest import REPO
from crosskd import dependencies
from crosskd.apps.commands import COMMANDS, main
from crosskd.apps.commands.main import GROUPS
from crosskd.apps.commands.mmdet_tools import available, run
from crosskd.started import as_our_command

SCRIPTS = ('dist_train', 'dist_test', 'slurm_train', 'slurm_test')
PYTHON_TOOLS = ('train', 'test', 'demo', 'compare')


def start(*args, cwd, **kwargs):
    """The command as a user starts it."""
    env = {**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': os.pathsep.join(
        [str(REPO), str(REPO / 'tests' / 'lib')]), **kwargs}
    return subprocess.Popen(
        [sys.executable, '-m', 'crosskd', *map(str, args)], cwd=cwd, env=env,
        text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_help_has_a_sentence_for_each_command(capsys):
    main(['--help'])
    out = capsys.readouterr().out
    assert out.startswith('usage: python -m crosskd COMMAND ')
    assert re.findall(r'^  (\w+) +[A-Z].*\.$', out, re.M) == list(COMMANDS)
    assert {'demo', *PYTHON_TOOLS, *SCRIPTS} < {*COMMANDS}
    for title in GROUPS:
        assert f'\n\n{title}:\n' in out
    assert max(map(len, out.splitlines())) < 82


@pytest.mark.parametrize('args', [['trian'], []])
def test_an_unknown_command_is_one_line_that_names_the_known(capsys, args):
    with pytest.raises(SystemExit) as ended:
        main(args)
    assert ended.value.code == 2
    out, error = capsys.readouterr()
    assert not out and len(error.splitlines()) == 1
    assert all(name in error for name in (*args, *COMMANDS))
    assert ("; did you mean 'train'? " in error) == bool(args)


def test_the_version(capsys):
    main(['--version'])
    assert capsys.readouterr().out == f'crosskd {crosskd.__version__}\n'


def test_a_missing_package_is_one_line(monkeypatch):

    def missing():
        raise dependencies.DependencyError('crosskd needs mmdet >= 3.3')

    monkeypatch.setattr(dependencies, 'check_dependencies', missing)
    monkeypatch.delitem(sys.modules, 'crosskd.registration')  # import it anew
    with pytest.raises(SystemExit) as ended:
        main(['train', 'c.py'])
    assert ended.value.code == (
        'python -m crosskd train: crosskd needs mmdet >= 3.3')


# as the script that pip writes
STARTED = """\
import sys
from crosskd.__main__ import run
from crosskd.apps.commands import COMMANDS, scripts
config = sys.argv[1]
scripts.os.execvpe = lambda *args: print(args[2]['CROSSKD_COMMAND'])

def start(*words):
    sys.argv[1:] = words
    try:
        run()
    except SystemExit as e:
        print('exit', e.code)
    print('--', {'torch', 'mmengine', 'mmcv', 'mmdet', 'numpy'} & {
        *sys.modules})

for words in (['--help'], ['--version'], ['trian'], ['mmdet', 'get_flops'],
              *([name, '--help'] for name in COMMANDS)):
    start(*words)
print('== to work')
start('train', config, '--cfg-options', 'model.type=CrosKDGFL')
"""


def test_help_imports_nothing_that_takes_long(tmp_path):
    """And a command that runs has registered the package."""
    (tmp_path / 'crosskd').write_text(STARTED)
    config = 'crosskd::demo/crosskd_gfl_r18w8_r18w24_shapes.py'
    out = python('crosskd', config, cwd=tmp_path,
                 env=dict(PYTHONPATH=str(REPO)))
    helps, worked = out.split('== to work\n')
    assert re.findall('^-- (.*)', helps, re.M) == ['set()'] * (
        4 + len(COMMANDS)), helps
    for name in COMMANDS:
        assert re.search(rf'^(usage: )?crosskd {name}\b', helps, re.M), helps
    assert "mean 'analysis_tools/get_flops.py'? crosskd mmdet --help" in helps
    assert "model.type='CrosKDGFL' is not" in worked
    assert "; did you mean 'CrossKDGFL'?" in worked


def test_as_a_module_help_imports_nothing_either(tmp_path):
    out = python('-X', 'importtime', '-m', 'crosskd', 'train', '--help',
                 cwd=tmp_path, env=dict(PYTHONPATH=str(REPO)))
    assert 'usage: python -m crosskd train ' in out
    imported = {*re.findall(r'\| +([\w.]+)$', out, re.M)}
    assert 'crosskd.apps.commands.flags' in imported
    assert not {'torch', 'mmengine', 'mmdet', 'numpy'} & imported


@pytest.mark.parametrize('orig, argv, ours', [
    ('python -m crosskd --help', '-m --help', True),
    ('python -X importtime -mcrosskd', '-m', True),
    ('python /env/bin/crosskd train c.py', '/env/bin/crosskd train c.py',
     True),
    # a worker of a command; it unpickles what the package registers
    ('python -c from_multiprocessing --multiprocessing-fork',
     '/env/bin/crosskd train', False),
    ('python -c from_multiprocessing', '/src/crosskd/__main__.py train c.py x',
     False),
    ('python -m pytest crosskd', '-m crosskd', False),
    ('python -m crosskd.demo', '-m', False),
    ('python tools/train.py crosskd', 'tools/train.py crosskd', False),
    ('python', '', False)])
def test_which_processes_are_commands(monkeypatch, orig, argv, ours):
    monkeypatch.setattr(sys, 'orig_argv', orig.split(' '))
    monkeypatch.setattr(sys, 'argv', argv.split(' '))
    assert as_our_command('crosskd') == ours


def usage_and_example(out, words):
    """The example in a help text; both begin with how it was called."""
    assert out.startswith(f'usage: {words} ')
    found = re.search(rf'example.*:\n  {re.escape(words)} (.*)\n',
                      re.sub(r'\\\n +', '', out))  # lines that go on
    assert found, out
    return found[1].split()


@pytest.mark.parametrize('name', PYTHON_TOOLS)
def test_python_help_has_an_example(tmp_path, name):
    installed, script = (
        usage_and_example(tool(file, *args, '--help', cwd=tmp_path), words)
        for file, args, words in (
            (MAIN, [name], f'python -m crosskd {name}'),
            (f'{name}.py', [], f'python tools/{name}.py')))
    assert installed == script


@pytest.mark.parametrize('name', SCRIPTS)
def test_script_help_has_an_example(tmp_path, name):
    installed = tool(MAIN, name, '--help', cwd=tmp_path)
    script = subprocess.run(
        ['bash', REPO / f'tools/{name}.sh', '-h'], cwd=tmp_path, text=True,
        check=True, stdout=subprocess.PIPE).stdout
    assert usage_and_example(installed, f'python -m crosskd {name}') == (
        usage_and_example(script, f'tools/{name}.sh'))


@pytest.mark.parametrize('name', ['train', 'test', 'dist_train', 'dist_test',
                                  'slurm_train', 'slurm_test', 'mmdet'])
def test_the_config_of_an_example_is_there(tmp_path, name):
    out = tool(MAIN, name, '--help', cwd=tmp_path)
    words = usage_and_example(out, f'python -m crosskd {name}')
    config, = (w for w in words if '::' in w)
    printed = tool(MAIN, 'mmdet', 'misc/print_config.py', config, cwd=tmp_path)
    assert "type='CrossKDGFL'" in printed.replace(' ', '')


@pytest.mark.parametrize('args', [['train'], ['test', 'c.py'],
                                  ['demo', '--seed', 'x']])
def test_a_wrong_argument_is_an_error_of_the_command(tmp_path, args):
    error = tool(MAIN, *args, cwd=tmp_path, ok=False)
    assert f'usage: python -m crosskd {args[0]} ' in error
    assert f'python -m crosskd {args[0]}: error: ' in error


@pytest.mark.parametrize('name, usage', [
    ('dist_train', 'CONFIG GPUS'), ('dist_test', 'CONFIG CHECKPOINT GPUS'),
    ('slurm_train', 'PARTITION JOB_NAME CONFIG WORK_DIR'),
    ('slurm_test', 'PARTITION JOB_NAME CONFIG CHECKPOINT')])
def test_a_missing_argument_of_a_script_is_a_usage_line(
        tmp_path, name, usage):
    error = tool(MAIN, name, cwd=tmp_path, ok=False)
    assert len(error.splitlines()) == 1
    assert error.startswith(f'usage: python -m crosskd {name} {usage} ')


def test_train_and_test_are_the_tools(project, tmp_path):
    tool(MAIN, 'train', 'distilled.py', '--work-dir', tmp_path, cwd=project)
    assert same_weights(tmp_path / 'epoch_2.pth',
                        project / 'work_dirs/distilled/epoch_2.pth')
    outs = [tool(*args, 'distilled.py', tmp_path / 'epoch_2.pth',
                 '--work-dir', tmp_path, cwd=project)
            for args in (['test.py'], [MAIN, 'test'])]
    assert metrics(outs[0]) == metrics(outs[1])


@pytest.mark.parametrize('word, said', [
    ('nowhere::demo/x.py', 'there is no package nowhere'),
    ('mmdt::demo/x.py', "there is no package mmdt; .* 'mmdet::demo/x.py'[?]"),
    ('crosskd::demo/gone.py', r'no such config; looked for /.*demo/gone\.py'),
    ('crosskd::gfl_r18w8_shape.py',
     "no such config; .* you mean 'crosskd::demo/gfl_r18w8_shapes.py'[?]"),
])
def test_a_named_config_that_is_not_there_is_one_line(tmp_path, word, said):
    out = tool(MAIN, 'train', word, cwd=tmp_path, ok=False)
    assert re.fullmatch(rf'{word}: {said}\n', out)


def test_a_named_config_leaves_other_arguments_alone(tmp_path, monkeypatch):
    """``--cfg-options model.teacher_config=mmdet::….py`` is the config's."""
    option = 'model.teacher_config=mmdet::gfl/gfl_r50_fpn_1x_coco.py'
    monkeypatch.setattr(sys, 'argv', [])
    with pytest.raises(SystemExit):
        run('misc/print_config.py', ['--help', option], 'x')
    assert sys.argv == ['x', '--help', option]


@pytest.mark.slow
def test_ranks_are_started_and_their_failure_is_the_exit_code(
        project, tmp_path):
    options = ('--work-dir', tmp_path, '--cfg-options',
               'train_cfg.max_epochs=1')
    done = start('dist_train', 'distilled.py', 2, *options, cwd=project,
                 PORT='29641')
    out, error = done.communicate(timeout=300)
    assert done.returncode == 0, error[-3000:]
    assert 'Epoch(train) [1][2/2]' in re.sub(' +', ' ', out + error)
    failed = start('dist_test', 'distilled.py', 'gone.pth', 1, cwd=project,
                   PORT='29642')
    assert 'gone.pth' in failed.communicate(timeout=300)[1]
    assert failed.returncode == 1


def test_a_command_becomes_its_script(tmp_path):
    """So it is the script's process that gets a signal, and answers it."""
    srun = tmp_path / 'srun'
    srun.write_text('#!/bin/sh\ntrap "exit 7" TERM\n'
                    'printf "%s\\n" $$ "$@" >part; mv part called\n'
                    'for i in $(seq 600); do sleep 0.1; done\n')
    srun.chmod(0o755)
    process = start('slurm_train', 'part', 'job', 'c.py', 'w d', '--amp',
                    cwd=tmp_path, PATH=f'{tmp_path}:{os.environ["PATH"]}')
    for _ in range(1000):
        if (tmp_path / 'called').exists():
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=100)
    assert process.returncode == 7
    pid, *words = (tmp_path / 'called').read_text().splitlines()
    assert int(pid) == process.pid
    assert words[words.index('-u') - 1] == sys.executable
    assert words[-4:] == ['c.py', '--work-dir=w d', '--launcher=slurm',
                          '--amp']


def test_an_unknown_tool_of_mmdets_is_one_line(tmp_path):
    listed = tool(MAIN, 'mmdet', cwd=tmp_path)
    error = tool(MAIN, 'mmdet', 'get_flops.py', cwd=tmp_path, ok=False)
    assert error == (
        "python -m crosskd mmdet: mmdet has no tool 'get_flops.py'; did you "
        "mean 'analysis_tools/get_flops.py'? python -m crosskd mmdet --help "
        'lists all of them\n')
    for name in available():
        assert f'\n  {name}\n' in listed
    assert {'analysis_tools/analyze_logs.py', 'analysis_tools/get_flops.py',
            'analysis_tools/confusion_matrix.py', 'misc/split_coco.py',
            'analysis_tools/browse_dataset.py'} < {*available()}
    assert not {'train.py', 'test.py'} & {*available()}
