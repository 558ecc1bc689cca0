"""What a checkout consists of."""

SOURCES = ('crosskd', 'configs', 'tools', 'tests', 'docs', 'setup.py',
           'pyproject.toml', 'MANIFEST.in', 'README.md', 'LICENSE',
           'CHANGELOG.md', 'CITATION.cff', 'CONTRIBUTING.md', 'SECURITY.md',
           'model-index.yml', '.pre-commit-config.yaml', '.ci', '.github',
           'requirements.txt', 'constraints.txt',
           'constraints-openmmlab.txt')
