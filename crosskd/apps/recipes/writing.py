"""Writing a config to a file, completely or not at all."""
import os
from collections.abc import Mapping
from pathlib import Path

from ...errors import ConfigFileNotFoundError, ConfigValueError

KEY = '-o'


def check_output(out: str, inputs: Mapping[str, str]) -> Path:
    """Check that a config can be written to a file.

    Args:
        out: its path, as the user wrote it.
        inputs: names and paths of the configs that it is made of.

    Returns:
        Path: absolute.

    Raises:
        FileNotFoundError: its folder does not exist.
        ValueError: it is a folder or one of the inputs, or mmengine cannot
            read a config of this name.
    """
    found = f'{KEY}={out!r}'
    file = Path(os.path.abspath(Path(out).expanduser()))
    if file.suffix != '.py':
        raise ConfigValueError(f'{found}: expected a name that ends with .py')
    if file.is_dir():
        raise ConfigValueError(f'{found}: this is a folder; expected a file')
    if not file.parent.is_dir():
        raise ConfigFileNotFoundError(
            f'{found}: there is no folder {Path(out).parent} (looked from '
            f'{Path.cwd()}); create it, or name another file')
    for key, name in inputs.items():
        given = Path(name).expanduser()
        if file.exists() and given.exists() and file.samefile(given):
            verb = 'inherits' if key.startswith('STUDENT') else 'names'
            raise ConfigValueError(
                f'{found}: this is {key}, which the new config {verb}; name '
                'another file')
    return file


def write_whole(file: Path, text: str, out: str) -> None:
    """Write a text to a file, and replace an existing one.

    Args:
        file: gets the text, in UTF-8.
        text: all of it.
        out: the file, as the user named it.

    Raises:
        ValueError: it cannot be written; the file is as it was before.
    """
    part = file.with_name(f'.{file.name}.{os.getpid()}')
    try:
        part.write_text(text, encoding='utf-8')
        part.replace(file)
    except OSError as e:
        raise ConfigValueError(f'{KEY}={out!r}: cannot be written: '
                               f'{e.strerror or e}') from None
    finally:
        part.unlink(missing_ok=True)
