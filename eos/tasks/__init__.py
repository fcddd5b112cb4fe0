"""Tasks: one file a task, with its data, its batches and its metrics. :mod:`eos.tasks.task` holds the contract."""
