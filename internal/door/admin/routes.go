package admin

import "net/http"

// Route is one line of the table: an act, where it is, and who may do it.
type Route struct {
	// Operation is its name in the description (OpenAPI operationId) and in the
	// table of roles.
	Operation, Method, Pattern string
	// Least is the role that may do it; an owner may do everything, and what is
	// open to viewers is open to all.
	Least Role
	// Query lists the parameters it reads; any other is refused.
	Query []string
	// Reads: it changes nothing, although it is a POST.
	Reads bool

	act func(*Door, *call) (reply, error)
}

// paging are the parameters of every list.
var paging = []string{"limit", "cursor"}

// Routes is the table. Nothing is mounted that is not in it.
func Routes() []Route {
	const get, post, put, patch, del = http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete
	with := func(more ...string) []string { return append(more, paging...) }
	return []Route{
		{"status", get, "/admin/v1/status", Viewer, nil, false, (*Door).status},
		{"limits", get, "/admin/v1/limits", Viewer, nil, false, (*Door).limits},
		{"description", get, "/admin/v1/openapi.yaml", Viewer, nil, false, (*Door).description},
		{"check", get, "/admin/v1/check", Owner, nil, false, (*Door).check},
		{"apply", post, "/admin/v1/apply", Owner, []string{"file"}, false, (*Door).apply},
		{"why", post, "/admin/v1/why", Viewer, nil, true, (*Door).why},

		{"listUsers", get, "/admin/v1/users", Viewer, with("login"), false, (*Door).users},
		{"createUser", post, "/admin/v1/users", Support, nil, false, (*Door).createUser},
		{"getUser", get, "/admin/v1/users/{user}", Viewer, nil, false, (*Door).user},
		{"updateUser", patch, "/admin/v1/users/{user}", Support, nil, false, (*Door).updateUser},
		{"disableUser", post, "/admin/v1/users/{user}/disable", Support, nil, false, (*Door).disableUser},
		{"enableUser", post, "/admin/v1/users/{user}/enable", Support, nil, false, (*Door).enableUser},
		{"setPassword", post, "/admin/v1/users/{user}/password", Support, nil, false, (*Door).setPassword},
		{"signOutUser", post, "/admin/v1/users/{user}/sign-out", Support, nil, false, (*Door).signOutUser},
		{"listUserSessions", get, "/admin/v1/users/{user}/sessions", Viewer, with("ended"), false, (*Door).userSessions},
		{"endUserSession", post, "/admin/v1/users/{user}/sessions/{sid}/end", Support, nil, false, (*Door).endUserSession},
		{"listUserLinks", get, "/admin/v1/users/{user}/links", Viewer, nil, false, (*Door).userLinks},
		{"linkUser", post, "/admin/v1/users/{user}/links", Support, nil, false, (*Door).linkUser},
		{"unlinkUser", del, "/admin/v1/users/{user}/links/{upstream}", Support, nil, false, (*Door).unlinkUser},

		{"listUpstreams", get, "/admin/v1/upstreams", Viewer, nil, false, (*Door).upstreams},
		{"disableUpstream", post, "/admin/v1/upstreams/{upstream}/disable", Owner, nil, false, (*Door).disableUpstream},
		{"enableUpstream", post, "/admin/v1/upstreams/{upstream}/enable", Owner, nil, false, (*Door).enableUpstream},

		{"listClients", get, "/admin/v1/clients", Viewer, paging, false, (*Door).clients},
		{"getClient", get, "/admin/v1/clients/{client}", Viewer, nil, false, (*Door).client},
		{"putClient", put, "/admin/v1/clients/{client}", Clients, nil, false, (*Door).putClient},
		{"deleteClient", del, "/admin/v1/clients/{client}", Clients, nil, false, (*Door).deleteClient},
		{"rotateClientSecret", post, "/admin/v1/clients/{client}/secret", Clients, nil, false, (*Door).rotateSecret},
		{"disableClient", post, "/admin/v1/clients/{client}/disable", Clients, nil, false, (*Door).disableClient},
		{"enableClient", post, "/admin/v1/clients/{client}/enable", Clients, nil, false, (*Door).enableClient},

		{"listSessions", get, "/admin/v1/sessions", Viewer, with("user", "client", "device", "address", "ended"), false, (*Door).sessions},
		{"getSession", get, "/admin/v1/sessions/{sid}", Viewer, nil, false, (*Door).session},
		{"endSession", post, "/admin/v1/sessions/{sid}/end", Support, nil, false, (*Door).endSession},

		{"listKeys", get, "/admin/v1/keys", Viewer, nil, false, (*Door).keys},
		{"rotateKey", post, "/admin/v1/keys/rotate", Owner, nil, false, (*Door).rotateKey},
		{"dropKey", post, "/admin/v1/keys/drop", Owner, nil, false, (*Door).dropKey},

		{"listAudit", get, "/admin/v1/audit", Viewer, with("user", "client", "sid", "name", "address", "before"), false, (*Door).audit},
	}
}

// byPattern is the table by path, then by method.
func byPattern() map[string]map[string]Route {
	all := map[string]map[string]Route{}
	for _, r := range Routes() {
		if all[r.Pattern] == nil {
			all[r.Pattern] = map[string]Route{}
		}
		all[r.Pattern][r.Method] = r
	}
	return all
}

// Changes reports whether calls of the route change something.
func (r Route) Changes() bool { return r.Method != http.MethodGet && !r.Reads }
