"""The command line: the table of commands, and what commands share."""

import sys

from hvdtrain.search_path import installed_first

# Before anything that is not of the standard library is imported.
sys.path[:] = installed_first(sys.path)
