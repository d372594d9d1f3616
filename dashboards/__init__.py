"""Stored results → numbers → Plotly figures → one HTML report."""
