vm1.vm	relay-smtps:[a.example]
vm2.vm	relay:[b.example], [c.example]
vm3.vm	relay:[d.example] tls=fingerprint
vm4.vm	relay:[e.example] fingerprint=3D:95:34:51:24:66:33:B9:D2:40:99:C0:C1:17:0B:D1
