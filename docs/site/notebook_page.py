"""A notebook as a page of the site, with the outputs it is stored with."""
import base64
import json


def notebook_page(notebook: str, stem: str) -> tuple[str, dict[str, bytes]]:
    """Markdown of a notebook, and the pictures that it shows.

    Args:
        notebook: the file's text.
        stem: what names of pictures begin with.
    """
    parts: list[str] = []
    pictures: dict[str, bytes] = {}
    for cell in json.loads(notebook)['cells']:
        text = ''.join(cell['source'])
        if cell['cell_type'] == 'markdown':
            parts.append(text)
            continue
        parts.append(f'````python\n{text}\n````')
        for output in cell['outputs']:
            image = output.get('data', {}).get('image/png')
            if image:
                name = f'{stem}_{len(pictures)}.png'
                pictures[name] = base64.b64decode(image)
                parts.append(f'![What the cell above shows]({name})')
            else:
                shown = output.get('text') or output['data']['text/plain']
                parts.append(f'````text\n{"".join(shown).rstrip()}\n````')
    return '\n\n'.join(parts) + '\n', pictures
