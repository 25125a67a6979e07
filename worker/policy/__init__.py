"""From a measurement to a decision. Read `policy` (rule and thresholds, from TOML), then `decide` (a pure function)."""
