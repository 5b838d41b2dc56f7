"""A discrete-event simulation that drives the product's own plan(): what spilling costs, against bounds and rivals."""
