"""The search: factors and orders, chambers, schedule, explore, plan and commit (DESIGN 2, 3)."""
