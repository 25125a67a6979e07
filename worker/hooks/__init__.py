"""Uploads as storage and upload servers report them, and the submissions made of them.

Reading order: `events` (what every sender's message becomes), `senders` (one file per sender, payload to events),
`objects` (the identity of an object, its sequencer), `mapping` (the file that says which uploads are checked, and as
what), `accept` (events into the ledger), `counts` (their outcomes), `signatures` and `sns_signature`; then what
takes messages from a queue: `consume`, from `sqs` or a `stream`; and what finds uploads that were not reported:
`sweep`.
"""
