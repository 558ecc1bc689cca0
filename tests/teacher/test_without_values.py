"""Students that are built or left without values; teachers are not."""
import copy

import pytest
import torch
from distiller_and_plain import both, pair
from helpers import KINDS, build, distiller_cfg, plain_cfg
from torch.testing import assert_close

WIPES = dict(
    to_empty=lambda m: m.to_empty(device='cpu'),
    by_meta=lambda m: m.to('meta').to_empty(device='cpu'),
    zeros=lambda m: m._apply(torch.zeros_like),
    not_below=lambda m: m.to_empty(device='cpu', recurse=False))


@pytest.mark.parametrize('wipe', WIPES)
@both
def test_what_leaves_the_student_without_values_leaves_the_teacher(
        method, wipe):
    model, _ = pair(method, training=True)
    teacher = model.teacher.detector
    before = copy.deepcopy(teacher.state_dict())
    student = copy.deepcopy(model.state_dict())
    assert WIPES[wipe](model) is model
    model.load_state_dict(student)  # as after any to_empty
    assert_close(teacher.state_dict(), before, rtol=0, atol=0)
    assert_close(model.state_dict(), student, rtol=0, atol=0)


@pytest.mark.parametrize('kind', KINDS)
def test_a_student_built_without_values_has_a_real_teacher(kind, tmp_path):
    teacher = build(plain_cfg(kind, 16), seed=5)
    torch.save(dict(state_dict=teacher.state_dict()), tmp_path / 'teacher.pth')
    with torch.device('meta'):
        model = build(distiller_cfg(kind, str(tmp_path / 'teacher.pth')))
        model.join_teacher()
    assert all(p.is_meta for p in model.parameters())
    assert_close(model.teacher.detector.state_dict(), teacher.state_dict(),
                 rtol=0, atol=0)
    model.to_empty(device='cpu').double()
    assert_close(
        model.teacher.detector.state_dict(),
        teacher.double().state_dict(), rtol=0, atol=0)


def test_the_teacher_takes_the_students_layout():
    model, _ = pair('crosskd', training=True)
    weight = model.teacher.detector.backbone.layer1[0].conv1.weight
    for layout in (torch.channels_last, torch.contiguous_format):
        model.to(memory_format=layout)
        assert weight.is_contiguous(memory_format=layout)
