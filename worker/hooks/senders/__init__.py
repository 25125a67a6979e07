"""The senders: one file each, a function that reads a message into events. `registry` names them.

To add one, write a file with such a function (`worker.hooks.events.Reader`) and put it into `registry.SENDERS`.
"""
