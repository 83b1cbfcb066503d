"""Which information a representation holds: decompositions, their estimators, and linear probes."""
