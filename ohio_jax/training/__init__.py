"""Training: a plan, the loop that follows it, checkpoints between its blocks; offline, online, and through a simulator."""
