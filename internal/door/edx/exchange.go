package edx

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"holdfast.example/internal/answer"
	"holdfast.example/internal/client"
	"holdfast.example/internal/fault"
	"holdfast.example/internal/form"
	"holdfast.example/internal/grant"
	"holdfast.example/internal/id"
)

// disabledBody is the refusal that the iOS app tells from all others.
type disabledBody struct {
	Error       string `json:"error"`
	Description string `json:"error_description"`
	Code        int    `json:"error_code"`
}

// exchange gives tokens for the token of another provider. Its checks have the
// order of the original, and each failure is the whole answer.
func (d *Door) exchange(w http.ResponseWriter, r *http.Request) {
	backend := r.PathValue("backend")
	known := false
	if d.Issuer.Upstreams != nil {
		_, known = d.Issuer.Upstreams.Find(backend)
	}
	if !known {
		d.turnAway(w, r, schemeBearer, unknownBackend())
		return
	}
	f, err := form.ReadAny(w, r)
	if err != nil {
		d.refuse(w, r, err, "")
		return
	}
	for _, name := range []string{"access_token", "client_id"} {
		if !f.Has(name) {
			d.refuse(w, r, fault.New(fault.InvalidRequest, name+" is required"), "")
			return
		}
	}
	which := f.Get("client_id")
	c, found := d.Issuer.Clients.Get(id.Client(which))
	switch {
	case !found || c.Disabled:
		d.refuseClient(w, r, answer.Printable(which)+" is not a valid client_id")
		return
	case c.Type != client.Public:
		d.refuseClient(w, r, answer.Printable(which)+" is not a public client")
		return
	}
	if bad := foreign(f.Get("scope"), c.Available()); bad != "" {
		d.refuse(w, r, fault.New(fault.InvalidRequest, ""), "'"+answer.Printable(bad)+"' is not a valid scope.")
		return
	}
	cred, err := d.credential(r, f)
	if err != nil {
		d.refuse(w, r, err, "")
		return
	}
	asked := request(r, f, cred)
	asked.Type, asked.Scope = grant.TokenExchange, f.Get("scope")
	asked.Subject = grant.Subject{Token: f.Secret("access_token"), Untyped: true, Upstream: backend, Bare: !f.Has("scope")}
	issued, err := d.Issuer.Grant(r.Context(), asked)
	if err != nil {
		d.refuseExchange(w, r, err)
		return
	}
	answer.JSON(w, http.StatusOK, body(issued))
}

// refuseExchange words what the exchange itself refused.
func (d *Door) refuseExchange(w http.ResponseWriter, r *http.Request, err error) {
	e := fault.As(err)
	switch {
	case errors.Is(err, grant.ErrUpstreamUnknown):
		d.turnAway(w, r, schemeBearer, unknownBackend())
	case errors.Is(err, grant.ErrUserDisabled):
		d.note(r, e)
		answer.Refusal(w.Header(), &fault.Error{Reason: fault.Disabled}, http.StatusForbidden)
		answer.JSON(w, http.StatusForbidden, disabledBody{"account_disabled", "user account is disabled", http.StatusForbidden})
	case e.Kind == fault.InvalidClient:
		d.refuseClient(w, r, answer.Printable(e.Words))
	case e.Kind == fault.UnauthorizedClient: // a person reads this
		d.refuse(w, r, err, answer.Printable(e.Words))
	default:
		d.refuse(w, r, err, "")
	}
}

// refuseClient refuses a client. Here that is 400, and not the 401 of the other
// endpoints.
func (d *Door) refuseClient(w http.ResponseWriter, r *http.Request, why string) {
	d.note(r, fault.New(fault.InvalidClient, why))
	answer.JSON(w, http.StatusBadRequest, errorBody{words[fault.InvalidClient].code, why})
}

// unknownBackend is the answer to a provider nobody has set up: JSON, where the
// original shows a page.
func unknownBackend() *refusal {
	return &refusal{http.StatusNotFound, detail{"Not found."}, fault.New(fault.NotFound, "no such provider")}
}

// foreign is the first scope of a list that is not available, "" for none.
func foreign(asked string, available []string) string {
	for _, s := range strings.Fields(asked) {
		if !slices.Contains(available, s) {
			return s
		}
	}
	return ""
}
