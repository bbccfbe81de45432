"""Figures as data, made once: drawn by matplotlib into files and as SVG into the report."""
