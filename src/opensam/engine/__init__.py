"""The data engine: where pictures, masks and labels are kept (`store`), and who makes them."""
