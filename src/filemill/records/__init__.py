"""The record layer: batches of raw records, and the columns that expressions name."""
