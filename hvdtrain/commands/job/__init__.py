"""What the script of a job calls around its ranks."""
