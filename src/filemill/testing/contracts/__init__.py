"""Contract suites: what every adapter of a port must pass, published for adapters made elsewhere."""
