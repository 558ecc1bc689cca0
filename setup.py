"""Package crosskd; configs and tools travel inside it, as mmdet's do."""
import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(r"__version__ = '(.+)'",
                    (HERE / 'crosskd' / 'version.py').read_text())[1]

setup(
    name='crosskd',
    version=VERSION,
    description='Distillation of object detectors for MMDetection 3.x',
    long_description=(HERE / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    python_requires='>=3.10',
    packages=find_packages(include=['crosskd', 'crosskd.*']),
    # .mim/configs and .mim/tools are links to the folders beside this file
    package_data={
        'crosskd': ['.mim/*.yml', '.mim/configs/**/*', '.mim/tools/*']
    },
    extras_require={
        'lint': ['ruff==0.17.6', 'mypy==2.4.1'],
        'onedl': [
            'onedl-mmcv==2.3.6', 'onedl-mmengine==0.10.12',
            'onedl-mmdetection==3.5.1', 'torch>=2.4'
        ],
        'openmmlab': [
            'mmcv-lite==2.1.0', 'mmengine==0.10.7', 'mmdet==3.3.0',
            'torch>=2.1,<2.2', 'numpy<2', 'opencv-python<4.11'
        ],
        'tests': ['pytest', 'pytest-xdist>=3.7', 'hypothesis'],
    },
    classifiers=[
        'License :: OSI Approved :: Apache Software License',
        'Programming Language :: Python :: 3',
        'Programming Language :: Python :: 3.10',
        'Programming Language :: Python :: 3.11',
    ])
