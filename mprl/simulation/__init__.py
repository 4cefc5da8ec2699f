"""Many MuJoCo worlds stepped together."""
