"""docs/own_data.ipynb: run from the first cell to the last, as committed."""
import importlib.util
import json
import os
import re
from pathlib import Path

import pytest
from mmengine.config import Config

from conftest import REPO

pytestmark = pytest.mark.torch_only

NOTEBOOK = REPO / 'docs/own_data.ipynb'


def outputs(cells):
    """For each code cell the kinds of what it shows."""
    return [sorted({mime for output in cell['outputs'] for mime in
                    output.get('data', {output.get('name'): ''})})
            for cell in cells if cell['cell_type'] == 'code']


def shown(cells):
    """All text that the cells print."""
    return ''.join(''.join(output.get('text', '')) for cell in cells
                   for output in cell.get('outputs', []))


def test_it_is_committed_with_its_outputs():
    """Small, with nothing of the machine it ran on, and with a gain."""
    cells = json.loads(NOTEBOOK.read_text())['cells']
    code = [cell for cell in cells if cell['cell_type'] == 'code']
    assert [cell['execution_count'] for cell in code] == list(
        range(1, len(code) + 1))
    assert NOTEBOOK.stat().st_size < 400_000
    kinds = outputs(cells)
    assert sum('image/png' in kind for kind in kinds) >= 3
    assert all('stderr' not in kind for kind in kinds)
    text = shown(cells)
    assert not re.search(r'/(home|root|tmp|usr|opt)/|[Ww]arning', text), text
    assert 'same detections: True' in text
    found = aps(text)
    assert found['teacher'] > found['distilled student'] > found[
        'student alone'] > 20


def aps(text):
    return {name: float(ap)
            for name, ap in re.findall(r'^ *([\w ]+): AP ([\d.]+)$', text,
                                       re.M)}


def test_the_site_shows_its_text_code_and_pictures(monkeypatch):
    monkeypatch.syspath_prepend(REPO / 'docs/site')
    notebook_page = importlib.import_module('notebook_page').notebook_page
    text, pictures = notebook_page(json.dumps(dict(cells=[
        dict(cell_type='markdown', source=['# One\n', 'two']),
        dict(cell_type='code', source=['print(3)\n', 'plot()'], outputs=[
            dict(output_type='stream', name='stdout', text=['3\n']),
            dict(output_type='display_data', data={
                'image/png': 'UE5H', 'text/plain': ['<Figure>']})])])), 'nb')
    assert text == (
        '# One\ntwo\n\n````python\nprint(3)\nplot()\n````\n\n'
        '````text\n3\n````\n\n![What the cell above shows](nb_0.png)\n')
    assert pictures == {'nb_0.png': b'PNG'}


@pytest.mark.slow
def test_it_runs_from_the_first_cell_to_the_last(tmp_path, monkeypatch):
    nbclient = pytest.importorskip('nbclient')
    nbformat = pytest.importorskip('nbformat')
    if importlib.util.find_spec('ipykernel') is None:
        pytest.skip("needs pip install '.[notebook]'")
    monkeypatch.setenv('PYTHONPATH', os.pathsep.join(
        [str(REPO), os.environ.get('PYTHONPATH', '')]))
    monkeypatch.setenv('OMP_NUM_THREADS', '1')  # tests run side by side
    book = nbformat.read(NOTEBOOK, as_version=4)
    committed = outputs(book.cells)
    for cell in book.cells:
        if cell.cell_type == 'code':
            cell.update(outputs=[], execution_count=None)
    nbclient.NotebookClient(
        book, timeout=600, resources=dict(metadata=dict(path=str(tmp_path)))
    ).execute()
    assert outputs(book.cells) == committed
    text = shown(book.cells)
    assert 'same detections: True' in text
    assert aps(text).keys() == {
        'teacher', 'distilled student', 'student alone'}
    assert all(ap > 10 for ap in aps(text).values()), text
    plain = Config.fromfile(tmp_path / 'exported/student.py')
    assert not any('teacher' in key or key == 'kd_cfg' for key in plain.model)
    assert Path(tmp_path, 'exported/student.pth').is_file()
