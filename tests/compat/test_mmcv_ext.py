"""The stand-in for mmcv's compiled ops."""
import importlib.machinery
import subprocess
import sys

import pytest
import torch
from mmcv.ops import batched_nms, nms
from mmdet.models.losses.focal_loss import py_sigmoid_focal_loss
from nms_cases import nms_cases

from crosskd.compat import mmcv_ext

needs_stand_in = pytest.mark.skipif(
    not mmcv_ext.is_installed(), reason='mmcv has compiled ops')


def nms_by_hand(boxes, scores, threshold, offset):
    """Greedy NMS from its definition, one pair at a time."""
    order = scores.sort(0, descending=True)[1].tolist()
    kept = []
    for i in order:
        if all(overlap(boxes[i], boxes[j], offset) <= threshold
               for j in kept):
            kept.append(i)
    return kept


def overlap(a, b, offset):
    def size(low, high):
        return high - low + offset

    w = max(float(size(max(a[0], b[0]), min(a[2], b[2]))), 0)
    h = max(float(size(max(a[1], b[1]), min(a[3], b[3]))), 0)
    if not w * h:
        return 0.0
    areas = [float(size(c[0], c[2]) * size(c[1], c[3])) for c in (a, b)]
    return w * h / (sum(areas) - w * h)


@pytest.mark.parametrize(
    'name, boxes, scores, threshold, offset',
    [case for case in nms_cases() if len(case[1]) <= 60])
def test_nms_is_greedy_nms(name, boxes, scores, threshold, offset):
    kept = mmcv_ext.nms(boxes, scores, threshold, offset)
    assert kept.tolist() == nms_by_hand(boxes, scores, threshold, offset)


def test_mmcvs_own_functions_work_on_it():
    boxes = torch.tensor([[0., 0, 10, 10], [1, 1, 10, 10], [0, 0, 10, 10]])
    scores = torch.tensor([0.9, 0.8, 0.7])
    dets, keep = nms(boxes, scores, 0.5, score_threshold=0.1, max_num=5)
    assert keep.tolist() == [0] and dets.shape == (1, 5)
    _, keep = batched_nms(boxes, scores, torch.tensor([0, 0, 1]),
                          dict(type='nms', iou_threshold=0.5))
    assert keep.tolist() == [0, 2]


@pytest.mark.parametrize('gamma, alpha', [(2.0, 0.25), (1.5, 0.6)])
def test_focal_loss_and_its_gradient(gamma, alpha):
    rng = torch.Generator().manual_seed(0)
    logits = 4 * torch.randn(20, 5, generator=rng, dtype=torch.float64)
    target = torch.randint(6, (20, ), generator=rng)  # 5 is background
    logits.requires_grad_()
    one_hot = torch.nn.functional.one_hot(target, 6)[:, :5]
    expected = py_sigmoid_focal_loss(
        logits, one_hot, gamma=gamma, alpha=alpha, reduction='none')
    empty = logits.new_empty(0)
    loss, grad = torch.empty_like(logits), torch.empty_like(logits)
    with torch.no_grad():
        mmcv_ext.sigmoid_focal_loss_forward(logits, target, empty, loss,
                                            gamma=gamma, alpha=alpha)
        mmcv_ext.sigmoid_focal_loss_backward(logits, target, empty, grad,
                                             gamma=gamma, alpha=alpha)
    torch.testing.assert_close(loss, expected)
    (expected_grad, ) = torch.autograd.grad(expected.sum(), logits)
    torch.testing.assert_close(grad, expected_grad)


@pytest.mark.skipif(mmcv_ext.is_installed(), reason='no compiled ops')
@pytest.mark.parametrize('name, boxes, scores, threshold, offset',
                         nms_cases())
def test_compiled_nms_keeps_the_same(name, boxes, scores, threshold, offset):
    from mmcv.ops.nms import ext_module
    compiled = ext_module.nms(
        boxes.contiguous(), scores, iou_threshold=threshold, offset=offset)
    ours = mmcv_ext.nms(boxes, scores, threshold, offset)
    assert torch.equal(ours, compiled)


@needs_stand_in
def test_other_ops_say_what_to_install():
    from mmcv.ops import roi_pool
    with pytest.raises(NotImplementedError, match='roi_pool_forward.*'
                       'MMCV_WITH_OPS'):
        roi_pool(torch.zeros(1, 1, 4, 4), torch.zeros(1, 5), (2, 2))


@needs_stand_in
def test_one_line_in_the_log_file_and_none_on_the_terminal(tmp_path):
    file = tmp_path / 'a.log'
    code = ('import torch, crosskd; from mmcv.ops import nms\n'
            'from mmengine.logging import MMLogger\n'
            'from crosskd.compat import mmengine_logging as ours\n'
            'def run(): nms(torch.ones(2, 4), torch.ones(2), 0.5)\n'
            'run()\n'  # no log file yet
            f"log = MMLogger.get_instance('a', log_file={str(file)!r})\n"
            'ours.keep_overviews_off_terminal(log)\n'
            'with ours.quiet(): run()\n'
            "print(open(log.handlers[1].baseFilename).read(), end='')\n"
            'for _ in range(3): run()')
    out = subprocess.run([sys.executable, '-c', code], text=True, check=True,
                         capture_output=True)
    assert 'no compiled ops' not in out.stdout + out.stderr
    assert file.read_text().count('no compiled ops') == 1


def test_compiled_ops_are_left_alone():
    # as a plain module: importing the package would import mmdet's models
    code = ('import importlib.util as u, sys\n'
            f'spec = u.spec_from_file_location("m", {mmcv_ext.__file__!r})\n'
            'm = u.module_from_spec(spec); spec.loader.exec_module(m)\n'
            'import types\n'
            "ext = sys.modules['mmcv._ext'] = types.ModuleType('mmcv._ext')\n"
            'm.install_if_missing()\n'
            "assert sys.modules['mmcv._ext'] is ext\n"
            'assert not m.is_installed()\n')
    subprocess.run([sys.executable, '-c', code], check=True)


@pytest.mark.parametrize('error', [
    'undefined symbol: _ZN2at4_ops5zeros4callEN3c108ArrayRefIlEE', None])
def test_compiled_ops_that_do_not_load_are_an_error_with_two_cures(
        tmp_path, error):
    """A library that is none, and one that was built for another torch."""
    copy = tmp_path / 'mmcv'
    copy.mkdir()
    (copy / '__init__.py').write_text('')
    if error is None:
        suffix = importlib.machinery.EXTENSION_SUFFIXES[0]
        (copy / f'_ext{suffix}').write_bytes(b'no library')
    else:
        (copy / '_ext.py').write_text(f'raise ImportError({error!r})')
    code = ('import importlib.util as u\n'
            f'spec = u.spec_from_file_location("m", {mmcv_ext.__file__!r})\n'
            'm = u.module_from_spec(spec); spec.loader.exec_module(m)\n'
            f'import sys; sys.path.insert(0, {str(tmp_path)!r})\n'
            "for k in [k for k in sys.modules if k.startswith('mmcv')]:\n"
            '    del sys.modules[k]\n'
            'm.install_if_missing()\n')
    done = subprocess.run([sys.executable, '-c', code], text=True,
                          capture_output=True)
    assert done.returncode
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ImportError: mmcv's compiled ops (mmcv._ext) "
                           f'cannot be loaded: {error or ""}')
    assert f'torch other than the installed {torch.__version__}' in last
    assert 'built for this torch, or one without compiled ops' in last
