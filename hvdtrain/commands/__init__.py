"""One module for each command. `hvdtrain.cli.main` imports it when the command runs."""
