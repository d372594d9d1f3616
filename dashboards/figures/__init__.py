"""One module a figure: records → a frozen value of plain numbers → a Plotly figure."""
