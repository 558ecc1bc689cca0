"""Docstrings of this package, as mkdocstrings reads them: Markdown.

In the sources they name other classes as Sphinx does, and begin an example
with two colons; here these are links and fenced blocks.
"""
import re
import textwrap

import griffe

ROLE = re.compile(r':(?:class|func|meth|mod|attr):`(~?)([\w.]+)`')
EXAMPLE = re.compile(r'::\n\n((?:    .*\n|\n)+?)(?=\S|\Z)')


class Roles(griffe.Extension):
    """Makes links of roles whose target is on the site, and fences."""

    def on_object(self, *, obj: griffe.Object, **_: object) -> None:
        if obj.docstring is None:
            return

        def link(found: re.Match) -> str:
            short, name = found.groups()
            shown = name.rsplit('.', 1)[-1] if short else name
            try:
                target = obj.resolve(name)
            except griffe.NameResolutionError:
                target = name
            return (f'<autoref optional identifier="{target}">'
                    f'<code>{shown}</code></autoref>')

        def fence(found: re.Match) -> str:
            code = textwrap.dedent(found[1]).strip()
            return f':\n\n```python\n{code}\n```\n\n'

        # a line that begins with > would be a quotation
        text = obj.docstring.value.replace('>= ', '≥ ').replace(
            ': > ', ': above ')
        text = EXAMPLE.sub(fence, f'{text}\n')
        obj.docstring.value = ROLE.sub(link, text)
