"""What plan() sees and weighs: a snapshot, what lanes can do in time, whose turn it is, what leaves, and what a run will cost and lacks."""
