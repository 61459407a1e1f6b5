"""A small shop: durable functions for orders, stock and the daily report."""
