"""Pixels in: read a file as a radiograph, or draw a synthetic phantom."""
