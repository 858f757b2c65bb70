"""What is minimised: problems, their objective, and what a solution consists of."""
