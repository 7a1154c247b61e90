vm1.vm relay:[mta1]:587 tls=none
vm2.vm relay-smtps:[mta1]
vm3.vm relay:[mta1]:587 tls=encrypt
