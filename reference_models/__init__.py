"""What is run: one folder a workload (network, weights, card), and the datasets that they are judged on."""
