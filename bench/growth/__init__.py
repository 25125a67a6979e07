"""Cost against size, images in flight, queue length and rows in the ledger: figures, plots, and the bound of 1.3.

Read `series` (what a measurement is), then `ledgers`, `images` and `in_flight` (what is measured), `page` (the plots
and the tables of docs/performance.md), and `__main__`, which is the command.
"""
