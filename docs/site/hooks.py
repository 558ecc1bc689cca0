"""What the site needs beside mkdocs: pages that are outside of docs/.

Links such as ``../configs/crosskd/README.md`` work in the repository; here
the files they name become pages of the site, Markdown as it is and everything
else as a listing, below ``repository/``.  A notebook of docs/ becomes a page
with its outputs.  A link to what does not exist is left alone, and so ends a
strict build.
"""
import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page
from notebook_page import notebook_page  # beside this file

LINK = re.compile(r'(?<=\]\()(?!https?:|#)([^)#\s]+)(#[^)\s]*)?(?=\))')
DIAGRAM = re.compile(r'<img [^>]*src="[^"]*crosskd\.svg"[^>]*/?>')
FOLDER = 'repository'
NOTEBOOK = '.ipynb'
LANGUAGES = dict(py='python', sh='bash', yml='yaml', yaml='yaml', json='json')


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what pages link to outside of docs/, and what these link to."""
    root, docs = Path(config.config_file_path).parent, _docs(config)
    left = [(f'{docs}/{file.src_uri}', file.content_string)
            for file in files.documentation_pages()]
    left += [('mkdocs.yml', f']({uri})') for uri in _in_nav(config)]
    seen = {page for page, _ in left}
    while left:
        page, text = left.pop()
        for link, _ in LINK.findall(text):
            name = _target(page, link)
            path = root / name
            if name in seen or not path.is_file() or (
                    name.startswith(f'{docs}/') and path.suffix != NOTEBOOK):
                continue
            seen.add(name)
            content = path.read_text(encoding='utf-8')
            if path.suffix == '.md':
                left.append((name, content))
            elif path.suffix == NOTEBOOK:
                content, pictures = notebook_page(content, path.stem)
                for picture, data in pictures.items():
                    files.append(File.generated(
                        config, posixpath.join(
                            posixpath.dirname(_uri(name)), picture),
                        content=data))
            else:
                content = _listing(name, content)
            file = File.generated(config, _uri(name), content=content)
            if _uri(name) not in _nav_pages(config.nav):
                file.inclusion = InclusionLevel.NOT_IN_NAV
            files.append(file)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig,
                     files: Files) -> str:
    """Turn links out of docs/, and of pages from there, to these pages."""
    docs, uri = _docs(config), page.file.src_uri
    if uri.startswith(f'{FOLDER}/'):
        name = uri.removeprefix(f'{FOLDER}/')
    else:
        name = f'{docs}/{uri}'

    def turn(found: re.Match) -> str:
        link, anchor = found.groups()
        target = _target(name, link)
        inside = target.startswith(f'{docs}/') and not target.endswith(
            NOTEBOOK)
        to = target.removeprefix(f'{docs}/') if inside else _uri(target)
        if files.get_file_from_path(to) is None:
            return found[0]
        return posixpath.relpath(to, posixpath.dirname(uri)) + (anchor or '')

    return LINK.sub(turn, markdown)


def on_page_content(html: str, page: Page, config: MkDocsConfig,
                    files: Files) -> str:
    """Put the diagram into the page, where it follows the site's colours."""
    svg = Path(config.docs_dir, 'site', 'crosskd.svg')
    return DIAGRAM.sub(lambda _: svg.read_text(encoding='utf-8'), html)


def _docs(config: MkDocsConfig) -> str:
    return Path(config.docs_dir).name


def _target(page: str, link: str) -> str:
    """Where a link leads, from the root of the repository."""
    return posixpath.normpath(
        posixpath.join(posixpath.dirname(page), link))


def _uri(name: str) -> str:
    """The page that shows a file of the repository."""
    return f'{FOLDER}/{name}' if name.endswith('.md') else (
        f'{FOLDER}/{name}.md')


def _in_nav(config: MkDocsConfig) -> list[str]:
    return [uri.removeprefix(f'{FOLDER}/') for uri in _nav_pages(config.nav)
            if uri.startswith(f'{FOLDER}/')]


def _nav_pages(nav: object) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    if isinstance(nav, dict):
        nav = list(nav.values())
    return [uri for part in nav or () for uri in _nav_pages(part)]


def _listing(name: str, text: str) -> str:
    language = LANGUAGES.get(name.rsplit('.', 1)[-1], 'text')
    return (f'---\nsearch:\n  exclude: true\n---\n# {Path(name).name}\n\n'
            f'`{name}` in the repository:\n\n````{language}\n{text}\n````\n')
