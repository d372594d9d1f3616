"""Searches: functions that propose strengths. The grid is in the configuration; Optuna proposes more, in rounds."""
