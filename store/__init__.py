"""The read model of the orders, and the stock that follows them."""
