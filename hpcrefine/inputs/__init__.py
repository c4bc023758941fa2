"""What is computed with: matrices and samples from files and generators, and whether they suit."""
