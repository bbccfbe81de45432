"""`python -m hvdtrain` is the `hvdtrain` command."""

from hvdtrain.cli.main import main

main()
