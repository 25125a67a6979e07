"""The `susy` command."""
