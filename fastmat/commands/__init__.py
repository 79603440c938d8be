"""What the subcommands of ``fastmat`` do, one module each."""
