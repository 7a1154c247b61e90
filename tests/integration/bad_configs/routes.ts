# comment
vm1.vm	relay-smtps:[172.16.108.101] tls=may
vm2.vm	relay:[172.16.108.102]:70000

vm3.vm	relay:[172.16.108.103] tls=verfy
vm4.vm	relay:[172.16.108.104] tls=verify
vm5.vm	relay:[172.16.108.105] tls=dane
vm6.vm	relay:[172.16.108.106], [172.16.108.107],
