"""What a stored sweep says beside its decision: gains by unit, boundaries, the ladder."""
