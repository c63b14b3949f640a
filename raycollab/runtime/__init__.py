"""Where agents run: hosts, pools of them, and what is on the wire between them and the driver."""
