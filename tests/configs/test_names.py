"""Near names in messages."""
import pytest

from crosskd.names import (
    did_you_mean,
    did_you_mean_config,
    did_you_mean_named,
    did_you_mean_path,
)

pytestmark = pytest.mark.torch_only


@pytest.mark.parametrize('name, near', [
    ('trian', "; did you mean 'train'?"), ('TEST', "; did you mean 'Test'?"),
    ('xyz', ''), (3, '')])
def test_of_names(name, near):
    assert did_you_mean(name, ['train', 'Test']) == near


@pytest.mark.parametrize('path, near', [
    ('get_flops.py', 'a/get_flops.py'), ('get_flop', 'a/get_flops.py'),
    ('b/get_flops.py', 'a/get_flops.py'), ('d/x1.py', 'd/x2.py'),
    ('d/x2.py', 'd/x2.py'), ('nothing_like_it.py', None)])
def test_of_paths_the_file_counts_first(path, near):
    known = ['a/get_flops.py', 'c/x2.py', 'd/x2.py']
    said = did_you_mean_path(path, known)
    assert said == (f'; did you mean {near!r}?' if near else '')


def test_of_the_configs_of_a_package():
    wanted = 'gfl/gfl_r50_fpn_1x_coco.py'
    said = f"; did you mean 'mmdet::{wanted}'?"
    for name in ('gfl/gfl_r50_fpn_1x_cocoo.py', 'gfl_r50_fpn_1x_coco.py',
                 'gfll/gfl_r50_fpn_1x_coco.py'):
        assert did_you_mean_named('mmdet', name) == said
    assert did_you_mean_named('mmdt', wanted) == said
    assert did_you_mean_named('nowhere', wanted) == ''
    assert did_you_mean_named('not a name', wanted) == ''


def test_of_files_in_the_folders_where_they_were_looked_up(tmp_path):
    for name in ('here/own/student.py', 'here/own/student.pth',
                 'there/own/studen.py', 'here/own/teacher.py'):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    here, there = tmp_path / 'here', tmp_path / 'there'
    for folders, near in (((here, there), 'own/student.py'),
                          ((there, here), 'own/studen.py')):
        assert did_you_mean_config('own/stdent.py', folders) == (
            f'; did you mean {near!r}?')
    # a common suffix makes no names alike
    assert did_you_mean_config('own/gone.py', [here]) == ''
    assert did_you_mean_config('no_such/student.py', [here]) == ''
    assert did_you_mean_config(str(here / 'own/techer.py'), [there]) == (
        f"; did you mean {str(here / 'own/teacher.py')!r}?")
