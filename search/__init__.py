"""Search over combinations of stages: what is compared is brought to one size first."""
