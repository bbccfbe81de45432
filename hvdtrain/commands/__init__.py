"""One module per command. `hvdtrain.cli.main` imports a module when its command runs."""
