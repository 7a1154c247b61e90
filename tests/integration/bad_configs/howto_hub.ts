vm1.vm  relay-smtps:172.16.108.101
vm2.vm  relay-stmps:172.16.108.102
vm3.vm  relay-stmps:172.16.108.103
