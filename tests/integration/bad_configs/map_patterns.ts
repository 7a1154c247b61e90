# what a transport map must not have
/^(.*)@a\.example$/ relay:[$1]
/@b\.example$/ relay-stmps:[hub]
if /@c\.example$/
/^x/ relay:[hub]
/^x/ relay:[hub]
endif
/@d\.example$/ relay:[hub]
/@d\.example$/ relay:[other]
