"""Files that are kept: written whole, decoded closely."""
