"""What the trainer of perception models is made of."""
