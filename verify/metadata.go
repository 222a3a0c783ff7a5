package verify

import (
	"encoding/json"
	"net/http"
)

// MetadataPath is where clients look for a ResourceMetadata (RFC 9728 section
// 3); a resource with a path of its own has it appended.
const MetadataPath = "/.well-known/oauth-protected-resource"

// ResourceMetadata says, at MetadataPath, which authorization servers a
// service trusts (RFC 9728), so that a client that only knows the service can
// find where to sign in. It is an http.Handler.
type ResourceMetadata struct {
	// Resource is this service's own URL, equal to the one clients use and,
	// usually, to Config.Audience. Required.
	Resource string

	// AuthorizationServers are the issuers.
	AuthorizationServers []string

	// Scopes that clients may ask for.
	Scopes []string
}

// metadataMaxAge is how long clients may keep the document, in a form ready
// for Cache-Control.
const metadataMaxAge = "public, max-age=3600"

// ServeHTTP implements http.Handler.
func (m ResourceMetadata) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", metadataMaxAge)
	h.Set("Access-Control-Allow-Origin", "*") // public, and without credentials
	_ = json.NewEncoder(w).Encode(struct {    // a client that has gone needs no answer
		Resource string   `json:"resource"`
		Servers  []string `json:"authorization_servers,omitempty"`
		Scopes   []string `json:"scopes_supported,omitempty"`
		Methods  []string `json:"bearer_methods_supported"`
	}{m.Resource, m.AuthorizationServers, m.Scopes, []string{"header"}})
}
