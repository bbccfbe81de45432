"""The checks that the ranks make together before they train."""
