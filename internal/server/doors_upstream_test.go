package server_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// cmdWish: wish google|facebook [field=value ...] - the provider that dev plays
// gives the actor tokens of whom the fields invent.
func cmdWish(ts *testscript.TestScript, _ bool, args []string) {
	usage(ts, len(args) >= 1, "wish google|facebook [field=value ...]")
	s := on(ts)
	p := s.actor(ts)
	a := s.send(ts, http.MethodPost, "/dev/"+args[0]+"/token", urlEncoded, strings.NewReader(fieldsOf(ts, args[1:]).Encode()), nil)
	var told struct {
		ID     string `json:"id_token"`
		Access string `json:"access_token"`
	}
	ts.Check(json.Unmarshal(a.body, &told))
	p.upstreamID, p.upstreamAccess = told.ID, told.Access
}

// cmdExchange: exchange id_token|access_token [field=value ...] - show the token
// that was wished for; fields override or add.
func cmdExchange(ts *testscript.TestScript, _ bool, args []string) {
	usage(ts, len(args) >= 1 && (args[0] == "id_token" || args[0] == "access_token"), "exchange id_token|access_token [field=value ...]")
	s := on(ts)
	p := s.actor(ts)
	form := url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "subject_token": {p.upstreamID},
		"subject_token_type": {"urn:ietf:params:oauth:token-type:" + args[0]}, "install_id": {"install-of-" + p.name}, "device_name": {p.name}}
	if args[0] == "access_token" {
		form.Set("subject_token", p.upstreamAccess)
	}
	p.take(s.ask(ts, "/oauth2/token", form, args[1:]))
}
