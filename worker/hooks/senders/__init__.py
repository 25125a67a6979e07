"""The senders: one file each, a function that reads a message into events.

Reading order: `registry` (all of them by name), `s3`, what wraps S3's events: `sns` and `eventbridge`; `seaweedfs`,
`tusd`; what platforms send themselves: `cloudevents`, `webhook`, and `platform` (the data of both). To add a sender,
write a file with such a function (`worker.hooks.events.Reader`) and add it to `registry.SENDERS`.
"""
