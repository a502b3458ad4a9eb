"""Manipulation: Franka's Panda arm with a gripper, and what it is asked to lift and to open."""
