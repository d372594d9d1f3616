"""Figures of the documentation, one module a table: committed results → lines of Markdown."""
