/* routing - the resolver knows addresses; here is what the message adds to that */
#include "mta/routing.h"

/* Nobody can say where the address leads right now (a map that cannot be read): it waits. */
static const struct transport_route *no_route(const struct error *err, const char *address)
{
	struct smtp_status status;

	smtp_status_set(&status, 451, ESC(4, 3, 0), "no route for <%s> now: %s", address,
			err->text);
	return transport_route_new_retry(&status);
}

/* The operator has given it up (queue/action.h): nothing is tried any more. */
static const struct transport_route *returning_route(void)
{
	struct smtp_status status;

	smtp_status_set(&status, 554, ESC(5, 7, 0), "returned by the operator");
	return transport_route_new_error(&status);
}

/*
 * A report has no sender, and goes on without REQUIRETLS where it must (RFC 8689
 * section 5). What goes through a UNIX socket has arrived.
 */
static bool requires_tls(const struct queue_message *m, const struct transport_route *route)
{
	return m->requiretls && m->sender[0] && route->hop_count > 0 &&
	       !transport_route_is_unix(route);
}

/* With the logins that its sender has there. Where they are not known, nothing is sent. */
static int resolve(const struct mta_view *view, const struct queue_message *m, const char *address,
		   const struct transport_route **ret_route, struct error *err)
{
	int r = transport_resolve(view->transport, address, ret_route, err);

	if (r >= 0)
		r = credentials_add(view->logins, &view->options->credentials, m->sender, ret_route,
				    err);
	return r;
}

const struct transport_route *routing_find(const struct mta_view *view,
					   const struct queue_message *m,
					   const struct queue_recipient *recipient)
{
	const struct transport_route *route = NULL, *plain;
	struct error err = { 0 };

	if (recipient->is_returning)
		return returning_route();
	if (resolve(view, m, recipient->address, &route, &err) < 0) {
		transport_route_unref(route);
		return no_route(&err, recipient->address);
	}
	if (!requires_tls(m, route))
		return route;
	plain = route;
	route = transport_route_requiring_tls(plain);
	transport_route_unref(plain);
	return route;
}
