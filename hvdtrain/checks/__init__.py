"""Whether an installation and a machine can run hvdtrain: one small function per question."""
