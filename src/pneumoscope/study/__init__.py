"""Measure finished runs: evaluate one, compare several."""
