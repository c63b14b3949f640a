"""Peers, each in an environment of its own: see install.py."""
