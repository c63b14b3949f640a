"""What is wrong with a party's data, found where it is: only counts leave."""
