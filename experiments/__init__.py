"""Experiments: one claim per script, shown on real data, with a table of checks, a figure and a JSON file.

``python -m experiments`` runs them all and writes a gallery; ``python -m experiments --list`` says what there is.
Every script uses the public API of lossgeo only, and raises when a check misses its stated tolerance.
"""
