"""Tasks whose rows bear one label each."""
