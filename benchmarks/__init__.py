"""The experiment: methods, suites, plan, run, tracking."""
