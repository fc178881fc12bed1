"""Views made from others: windows, functions, model outputs, and the graph of them."""
