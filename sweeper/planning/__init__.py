"""From configuration and screen to the cells that are trained, before anything is written."""
