"""The panel: named, oriented functions of embeddings and their table of wells."""
