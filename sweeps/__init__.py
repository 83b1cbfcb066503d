"""The search: Optuna decides what to try, Ray Tune or this machine's processes where it runs."""
