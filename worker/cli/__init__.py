"""The `susy` command: it reads arguments and settings, calls the other packages, and prints.

Reading order: `main` (the commands and exit codes), `output` (data on stdout, all else on stderr), `options` and
`local_images` (what several commands share), then one module per command: `checks`, `policies`, `lab`, `services`,
`demo`.
"""
