"""Supply chains: stores, the warehouses that supply them, and when to order how much."""
