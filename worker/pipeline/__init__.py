"""One image from bytes to a verdict; knows no queue and no database."""
