"""From a measurement to a decision. Read `policy` (rule and thresholds, from TOML), `decide` (a pure function),
then `configuration` (which versions decide) and `selection` (which of them decides about a check)."""
