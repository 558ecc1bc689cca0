"""One level of a pass through the rest of a head, as adapters are given it."""
import pytest
import torch

from crosskd.heads import LevelPass

pytestmark = pytest.mark.torch_only


class Told:
    """A level whose branches and outputs tell that they have been made."""

    def __init__(self):
        self.made = []
        self.level = LevelPass(2, self.branch, self.predict)

    def branch(self, name):
        self.made.append(f'branch {name}')
        return torch.full((1, 1, 2, 2), 10.)

    def predict(self, name, level):
        assert level is self.level
        self.made.append(f'output {name}')
        if name == 'cls':
            return level.branch('cls') + level.output('reg')
        return level.branch('reg') * 2

    def step(self):
        self.made.append('step')
        return ('any', 'thing')


def test_nothing_is_made_before_it_is_asked_for():
    told = Told()
    assert told.level.index == 2 and not told.made
    assert told.level.output('reg').unique() == 20
    assert told.made == ['output reg', 'branch reg']


def test_what_several_ask_for_is_made_once():
    told = Told()
    reg = told.level.output('reg')
    assert told.level.output('cls').unique() == 30
    assert told.level.output('cls') is told.level.output('cls')
    assert told.level.output('reg') is reg
    assert told.level.branch('reg') is told.level.branch('reg')
    assert told.level.once('step', told.step) is told.level.once(
        'step', told.step)
    assert sorted(told.made) == [
        'branch cls', 'branch reg', 'output cls', 'output reg', 'step']


def test_a_branch_an_output_and_a_step_of_one_name_are_three():
    told = Told()
    assert told.level.once('reg', told.step) == ('any', 'thing')
    assert told.level.branch('reg').unique() == 10
    assert told.level.output('reg').unique() == 20
    assert sorted(told.made) == ['branch reg', 'output reg', 'step']
