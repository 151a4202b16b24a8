# cython: language_level=3
"""The size of a page, for Python as well: `page.pxd` is its only definition."""
