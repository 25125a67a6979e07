"""The worker that a competent engineer writes in a day, to compare this project with."""
