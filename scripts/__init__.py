"""Builders of the assets that the wheels carry, each with the command that made its file."""
