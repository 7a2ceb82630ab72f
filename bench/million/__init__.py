"""A million messages that were never written, and programs that ask for pages of them."""
