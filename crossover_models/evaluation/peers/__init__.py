"""What our system is compared with: baselines that learn nothing, and small versions of published systems."""
