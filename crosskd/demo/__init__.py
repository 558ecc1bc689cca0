"""The demo: a generated data set, three trainings, a table and a picture."""
