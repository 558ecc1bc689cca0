"""Our configs inherited by package name, in a project without a scope.

CI runs it; ``test_downstream.py`` has the same with a scope, for all.
"""
import pytest

from test_downstream import CONFIGS, folder, train_a_child

assert folder  # the fixture


@pytest.mark.parametrize('config', CONFIGS)
def test_a_child_of_every_config_trains(shapes_root, folder, tmp_path,
                                        config):
    train_a_child(shapes_root, folder, tmp_path, config, None)
