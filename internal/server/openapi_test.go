package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"

	"holdfast.example/docs/reference/openapi"
)

// descriptions are the APIs that have one. Every exchange of every test of this
// package below a prefix is held against its description (house.send,
// house.operate), and a run of all tests must have had each operation answer
// what it is for (TestMain).
var descriptions = []*description{
	{prefix: "/account/v1/", text: openapi.Account},
	{prefix: "/admin/v1/", text: openapi.Admin, operators: true},
}

// description is one OpenAPI document and which of its operations were seen to
// succeed.
type description struct {
	prefix, text string
	// operators: it is on the operators' listener alone.
	operators bool

	once sync.Once
	doc  *openapi3.T
	err  error

	mu   sync.Mutex
	seen map[string]bool
}

// load reads and checks the document itself.
func (d *description) load() (*openapi3.T, error) {
	d.once.Do(func() {
		d.seen = map[string]bool{}
		d.doc, d.err = openapi3.NewLoader().LoadFromData([]byte(d.text))
		if d.err == nil {
			d.err = d.doc.Validate(context.Background())
		}
	})
	return d.doc, d.err
}

// operations lists what is described, as "METHOD path".
func (d *description) operations() []string {
	var all []string
	for path, item := range d.doc.Paths.Map() {
		for method := range item.Operations() {
			all = append(all, method+" "+path)
		}
	}
	slices.Sort(all)
	return all
}

// route finds the described path that a request is for: the one with the fewest
// parameters. A trailing slash is another spelling of the same path.
func (d *description) route(path string) (pattern string, item *openapi3.PathItem, params map[string]string) {
	parts := strings.Split(strings.TrimSuffix(path, "/"), "/")
next:
	for p, i := range d.doc.Paths.Map() {
		want := strings.Split(p, "/")
		if len(want) != len(parts) {
			continue
		}
		found := map[string]string{}
		for n, w := range want {
			if strings.HasPrefix(w, "{") {
				found[strings.Trim(w, "{}")] = parts[n]
			} else if w != parts[n] {
				continue next
			}
		}
		if item == nil || len(found) < len(params) {
			pattern, item, params = p, i, found
		}
	}
	return pattern, item, params
}

// described holds one exchange, of the operators' listener or of the other,
// against the description of its API, if it has one.
func described(operators bool, r *http.Request, body []byte, a answer) error {
	for _, d := range descriptions {
		if d.operators == operators && strings.HasPrefix(r.URL.Path, d.prefix) {
			err := d.exchange(r, body, a)
			if err != nil {
				return fmt.Errorf("%s %s answered %d %s, which is not as described: %w", r.Method, r.URL, a.status, a.body, err)
			}
		}
	}
	return nil
}

// exchange checks that an answer is one that is described, and that a request
// which was not refused is one that is described.
func (d *description) exchange(r *http.Request, body []byte, a answer) error {
	doc, err := d.load()
	if err != nil {
		return err
	}
	pattern, item, params := d.route(r.URL.Path)
	if item == nil || item.GetOperation(r.Method) == nil {
		refused := []int{http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusUnauthorized, http.StatusForbidden}
		if !slices.Contains(refused, a.status) && r.Method != http.MethodHead && r.Method != http.MethodOptions {
			return errors.New("no such operation is described")
		}
		return nil
	}
	op := item.GetOperation(r.Method)
	again := r.Clone(context.Background())
	again.Body = io.NopCloser(bytes.NewReader(body))
	options := &openapi3filter.Options{IncludeResponseStatus: true, RejectWhenRequestBodyNotSpecified: true,
		SkipSettingDefaults: true, AuthenticationFunc: bearerSent}
	in := &openapi3filter.RequestValidationInput{Request: again, PathParams: params, QueryParams: r.URL.Query(), Options: options,
		Route: &routers.Route{Spec: doc, Path: pattern, PathItem: item, Method: r.Method, Operation: op}}
	if a.status < 300 {
		err = errors.Join(openapi3filter.ValidateRequest(r.Context(), in), onlyDescribed(r, item, op))
		if err != nil {
			return fmt.Errorf("the request: %w", err)
		}
		d.mu.Lock()
		d.seen[r.Method+" "+pattern] = true
		d.mu.Unlock()
	}
	out := &openapi3filter.ResponseValidationInput{RequestValidationInput: in, Status: a.status, Header: a.header, Options: options}
	out.SetBodyBytes(a.body)
	return errors.Join(openapi3filter.ValidateResponse(r.Context(), out), fits(op, a))
}

// bearerSent is what a description asks of a token or a cookie; whether it is good is for
// the server to say.
func bearerSent(_ context.Context, in *openapi3filter.AuthenticationInput) error {
	r := in.RequestValidationInput.Request
	if in.SecurityScheme.Type == "apiKey" {
		_, err := r.Cookie(strings.TrimPrefix(in.SecurityScheme.Name, "__Host-"))
		return err
	}
	if !strings.HasPrefix(r.Header.Get("Authorization"), "Bearer ") {
		return errors.New("no bearer token")
	}
	return nil
}

// onlyDescribed finds query parameters that no description has.
func onlyDescribed(r *http.Request, item *openapi3.PathItem, op *openapi3.Operation) error {
	for name := range r.URL.Query() {
		if op.Parameters.GetByInAndName("query", name) == nil && item.Parameters.GetByInAndName("query", name) == nil {
			return fmt.Errorf("the query parameter %s is not described", name)
		}
	}
	return nil
}

// fits finds what the validation of schemas lets pass: a body where none is
// described, and a problem whose status is not the answer's.
func fits(op *openapi3.Operation, a answer) error {
	response := op.Responses.Value(strconv.Itoa(a.status))
	if response == nil {
		return errors.New("the status is not described")
	}
	if len(response.Value.Content) == 0 && len(a.body) > 0 {
		return errors.New("no body is described")
	}
	var p struct{ Status int }
	if strings.HasPrefix(a.header.Get("Content-Type"), "application/problem+json") &&
		(json.Unmarshal(a.body, &p) != nil || p.Status != a.status) {
		return fmt.Errorf("the problem has the status %d", p.Status)
	}
	return nil
}

// TestDescriptionsAreSound: each document is valid OpenAPI 3.1, and it has
// nothing to say about paths that are not its own.
func TestDescriptionsAreSound(t *testing.T) {
	for _, d := range descriptions {
		doc, err := d.load()
		if err != nil {
			t.Errorf("%s: %v", d.prefix, err)
			continue
		}
		if !strings.HasPrefix(doc.OpenAPI, "3.1") {
			t.Errorf("%s is described in OpenAPI %s", d.prefix, doc.OpenAPI)
		}
		for _, op := range d.operations() {
			if _, path, _ := strings.Cut(op, " "); !strings.HasPrefix(path, d.prefix) {
				t.Errorf("%s describes %s", d.prefix, op)
			}
		}
	}
}

// TestDescriptionsCatch: the helper itself finds what is not as described.
func TestDescriptionsCatch(t *testing.T) {
	problem := http.Header{"Content-Type": {"application/problem+json"}, "Www-Authenticate": {`Bearer realm="x"`}}
	plain := http.Header{"Content-Type": {"application/json"}}
	for _, c := range []struct {
		name, method, path, body string
		a                        answer
		ok                       bool
	}{
		{"as described", "GET", "/account/v1/events", "", answer{200, plain, []byte(`{"events":[]}`)}, true},
		{"a member too many", "GET", "/account/v1/events", "", answer{200, plain, []byte(`{"events":[],"secret":1}`)}, false},
		{"a member too few", "GET", "/account/v1/events", "", answer{200, plain, []byte(`{}`)}, false},
		{"a status too many", "GET", "/account/v1/events", "", answer{418, problem, []byte(`{}`)}, false},
		{"another media type", "GET", "/account/v1/events", "", answer{200, http.Header{"Content-Type": {"text/plain"}}, []byte(`x`)}, false},
		{"a parameter too many", "GET", "/account/v1/events?all=1", "", answer{200, plain, []byte(`{"events":[]}`)}, false},
		{"a parameter out of range", "GET", "/account/v1/events?limit=0", "", answer{200, plain, []byte(`{"events":[]}`)}, false},
		{"no such operation", "PUT", "/account/v1/events", "", answer{200, plain, []byte(`{"events":[]}`)}, false},
		{"no such path", "GET", "/account/v1/nothing", "", answer{200, plain, []byte(`{}`)}, false},
		{"no such path, refused", "GET", "/account/v1/nothing", "", answer{404, problem, []byte(`{}`)}, true},
		{"a body where none is", "POST", "/account/v1/sessions/end-all", "", answer{204, http.Header{}, []byte(`{}`)}, false},
		{"a request body that is not described", "POST", "/account/v1/password", `{"new_password":"12345678"}`, answer{204, http.Header{}, nil}, false},
		{"a problem with another status", "GET", "/account/v1/events", "",
			answer{401, problem, []byte(`{"type":"urn:holdfast:problem:no_token","title":"x","status":403}`)}, false},
		{"a challenge that is missing", "GET", "/account/v1/events", "", answer{401, http.Header{"Content-Type": {"application/problem+json"}},
			[]byte(`{"type":"urn:holdfast:problem:no_token","title":"x","status":401}`)}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := &description{prefix: "/account/v1/", text: openapi.Account} // its own: nothing counts as seen
			r, err := http.NewRequest(c.method, "http://id.test"+c.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header = http.Header{"Content-Type": {"application/json"}, "Authorization": {"Bearer x"}}
			if err := d.exchange(r, []byte(c.body), c.a); (err == nil) != c.ok {
				t.Errorf("%v", err)
			}
		})
	}
}

// unseen lists the described operations that no test saw succeed. Only a run of
// all tests can tell.
func unseen() []string {
	for _, name := range []string{"test.run", "test.skip", "test.list", "test.fuzz"} {
		if f := flag.Lookup(name); f != nil && f.Value.String() != "" {
			return nil
		}
	}
	var all []string
	for _, d := range descriptions {
		_, err := d.load()
		if err != nil {
			continue
		}
		for _, op := range d.operations() {
			if !d.seen[op] {
				all = append(all, op)
			}
		}
	}
	return all
}
