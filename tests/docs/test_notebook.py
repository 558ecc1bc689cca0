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
    """In ten cells; small, and with nothing of the machine it ran on."""
    cells = json.loads(NOTEBOOK.read_text())['cells']
    code = [cell for cell in cells if cell['cell_type'] == 'code']
    assert len(code) == 10
    assert [cell['execution_count'] for cell in code] == list(range(1, 11))
    assert NOTEBOOK.stat().st_size < 400_000
    kinds = outputs(cells)
    assert sum('image/png' in kind for kind in kinds) >= 3
    assert all('stderr' not in kind for kind in kinds)
    text = shown(cells)
    assert not re.search(r'/(home|root|tmp|usr|opt)/|[Ww]arning', text), text
    assert 'same detections: True' in text


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
    aps = dict(re.findall(r'(\w+): AP50 ([\d.]+)', text))
    assert aps.keys() == {'teacher', 'distilled'}
    assert all(float(ap) > 5 for ap in aps.values()), aps
    plain = Config.fromfile(tmp_path / 'exported/student.py')
    assert not any('teacher' in key or key == 'kd_cfg' for key in plain.model)
    assert Path(tmp_path, 'exported/student.pth').is_file()
