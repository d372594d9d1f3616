"""Screens: tables of well profiles with their plate design; read, normalise, split, simulate."""
