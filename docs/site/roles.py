"""Docstrings of this package, as mkdocstrings reads them: Markdown.

In the sources they name other classes as Sphinx does, and begin an example
with two colons.
"""
import re

import griffe

ROLE = re.compile(r':(?:class|func|meth|mod|attr):`(~?)([\w.]+)`')


class Roles(griffe.Extension):
    """Turns roles into links, where their target is on the site."""

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

        text = ROLE.sub(link, obj.docstring.value)
        obj.docstring.value = re.sub(r'(?<=\w)::$', ':', text, flags=re.M)
