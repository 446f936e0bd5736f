"""Model files that ship: export, proof of parity, costs, prediction without torch."""
