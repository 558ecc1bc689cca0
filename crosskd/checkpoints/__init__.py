"""Reading files from elsewhere, without running what is in them."""
