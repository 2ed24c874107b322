"""filemill: files in, results out, nothing lost, everything seen."""
