"""timm can be imported if torchvision cannot.

What: while timm is imported, ``torchvision`` has placeholders for whatever
timm imports from it.  A placeholder raises an error when it is called.  If
torchvision itself can be imported, timm gets it, and nothing changes.
Why: timm imports torchvision for its data pipelines, its tracing and one
layer; a teacher uses none of them.  A torchvision that fits the installed
torch is not always there: the one on PyPI needs torch with CUDA, and fails to
load beside a torch without.
Until: timm's models can be imported without torchvision; 1.0.31 cannot.
"""
import importlib
import importlib.machinery
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from types import ModuleType
from typing import Any, NoReturn

NAME = 'torchvision'


def import_timm() -> ModuleType:
    """Import timm, with torchvision if that can be imported.

    Raises:
        ImportError: timm is not installed, or cannot be imported.
    """
    if 'timm' not in sys.modules:
        try:
            importlib.import_module(NAME)
        except Exception:  # missing, or built for another torch
            with _placeholders():
                return importlib.import_module('timm')
    return importlib.import_module('timm')


class _Kind(type):
    """The class of placeholders, which stand for classes and functions."""

    def __getattr__(cls, name: str) -> str:  # a member of an enumeration
        if name.startswith('__'):
            raise AttributeError(name)
        return name

    def __call__(cls, *args: Any, **kwargs: Any) -> NoReturn:
        raise ImportError(f'{cls.__name__} needs {NAME}, which could not be '
                          'imported when timm was; install the one that fits '
                          'the installed torch')


class _Module(ModuleType):

    def __getattr__(self, name: str) -> _Kind:
        if name.startswith('__'):
            raise AttributeError(name)
        return _Kind(name, (), {})


class _Finder(MetaPathFinder, Loader):

    def find_spec(self, name: str, path: Any, target: Any = None
                  ) -> importlib.machinery.ModuleSpec | None:
        if name.partition('.')[0] != NAME:
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> _Module:
        return _Module(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Do nothing: the module answers for any name."""


@contextmanager
def _placeholders() -> Iterator[None]:
    finder = _Finder()
    _forget()  # what a failed import left behind
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        _forget()  # others must not take them for the real one


def _forget() -> None:
    for name in [n for n in sys.modules if n.partition('.')[0] == NAME]:
        del sys.modules[name]
