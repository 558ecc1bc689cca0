"""Reading files from other people without running code in them."""
