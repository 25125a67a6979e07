"""The `susy` command: it reads arguments and settings, calls the other packages, and prints.

Reading order: `main` (the commands and exit codes), `output` (data on stdout, all else on stderr), then one module per
command. `stack` runs what `susy up` and `susy demo` need.
"""
