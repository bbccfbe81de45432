"""This installation: the commit it comes from, and the one file that nodes unpack it from."""
