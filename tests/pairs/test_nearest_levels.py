"""Levels of teachers that are no detectors, whose strides are others."""
import pytest

from crosskd.pairs.levels import nearest_levels

FPN = (8, 16, 32, 64, 128)


def matched(ours, theirs):
    return nearest_levels(*([(s, s) for s in one] for one in (ours, theirs)))


@pytest.mark.parametrize('theirs, expected', [
    ((16, ), [(1, 0)]), ((14.22, ), [(1, 0)]),
    # several blocks of a transformer: the earlier, the finer
    ((16, 16, 16), [(0, 0), (1, 1), (2, 2)]),
    ((14.22, 14.22), [(0, 0), (1, 1)]),
    # one more level at the fine end moves no other
    ((4, 8, 16, 32), [(0, 1), (1, 2), (2, 3)]),
    ((32, 16, 8), [(0, 2), (1, 1), (2, 0)])])
def test_the_nearest_are_matched_and_each_once(theirs, expected):
    assert matched(FPN, theirs) == expected


def test_of_equally_near_levels_the_deepest_is_taken():
    assert matched((16, ), (16, 16, 16)) == [(0, 2)]
    assert matched((16, 16), (16, )) == [(1, 0)]


def test_strides_of_both_directions_count():
    assert nearest_levels([(8, 8), (16, 8)], [(11.3, 11.3)]) == [(1, 0)]


def test_levels_that_are_far_apart_are_refused():
    assert matched((64, ), (16, )) == [(0, 0)]
    with pytest.raises(ValueError, match='teacher_config does not fit.*no '
                       'level of the teacher has a stride within 4 times'):
        matched((64, 128), (14.22, ))
