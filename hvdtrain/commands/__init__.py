"""One module per command. `hvdtrain.cli` imports a module when its command runs."""
