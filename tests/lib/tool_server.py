"""Run the command-line tools in fresh processes that are quick to start.

A server imports what every tool imports, once; each run is a fork of it, with
its own arguments, folder and output.  Importing takes longer than most runs.
"""
import functools
import multiprocessing
import os
import runpy
import sys
import tempfile
import traceback
from multiprocessing import forkserver
from pathlib import Path

TOOLS = Path(__file__).parents[2] / 'tools'
# the commands of ``python -m crosskd``, as if they were a tool
MAIN = '../crosskd/__main__.py'


def start(tool, *args, cwd, env=None):
    """Start a tool; returns the process and the file of its output."""
    _ensure_server()
    context = multiprocessing.get_context('forkserver')
    handle, output = tempfile.mkstemp()
    os.close(handle)
    process = context.Process(
        target=_main,
        args=(str(TOOLS / tool), [str(a) for a in args], str(cwd), env or {},
              output))
    process.start()
    return process, Path(output)


@functools.cache
def _ensure_server():
    # before Python 3.13 the server does not look where its parent does
    path = os.environ.get('PYTHONPATH')
    os.environ['PYTHONPATH'] = os.pathsep.join(
        [str(Path(__file__).parent), str(TOOLS.parent), path or ''])
    forkserver.set_forkserver_preload(['tool_server_imports'])
    forkserver.ensure_running()
    if path is None:
        del os.environ['PYTHONPATH']
    else:
        os.environ['PYTHONPATH'] = path


def run(tool, *args, cwd, ok=True, env=None):
    """Run a tool to its end; returns what it printed."""
    process, output = start(tool, *args, cwd=cwd, env=env)
    process.join(300)
    ended = process.exitcode is not None
    process.kill()
    text = output.read_text()
    output.unlink()
    assert ended, f'still running after 300 s: {text[-3000:]}'
    assert (process.exitcode == 0) == ok, text[-3000:]
    return text


def _main(path, args, cwd, env, output):
    file = os.open(output, os.O_WRONLY)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.chdir(cwd)
    os.environ.update(env)
    # as an interpreter that was started with this script
    sys.path[:0] = [*env.get('PYTHONPATH', '').split(':'), str(TOOLS)]
    sys.argv = [path, *args]
    code = 0
    try:
        runpy.run_path(path, run_name='__main__')
    except SystemExit as e:
        code = e.code or 0
        if isinstance(code, str):
            print(code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 1)
