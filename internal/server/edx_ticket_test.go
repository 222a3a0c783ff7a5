package server_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// sold asks for a ticket and returns the path of its link.
func (a attack) sold(access string) string {
	a.Helper()
	got := a.app("/oauth2/login/ticket", jwtHeader(access))
	var b struct {
		Ticket, URL string
		Expires     int `json:"expires_in"`
	}
	err := json.Unmarshal(got.body, &b)
	_, path, ok := strings.Cut(b.URL, "/oauth2/login/ticket?")
	if err != nil || got.status != 200 || !ok || b.Expires != 60 || b.Ticket == "" || got.header["Set-Cookie"] != nil {
		a.Fatalf("%d %s %v", got.status, got.body, err)
	}
	return "/oauth2/login/ticket?" + path
}

// TestEdXTicket (WEBVIEW-04, R34): the swap for apps that cannot set cookies in
// their WebView.
func TestEdXTicket(t *testing.T) {
	a := edx(t)
	h := a.learner("demo-edx")
	open := func(path string, header http.Header) answer { return a.edxAsk("GET", path, header) }
	const used = `{"detail":"This link was used before or is too old."}`
	a.in("opens once", func(a attack) {
		link := a.sold(h.Access)
		got := open(link+"&next="+url.QueryEscape("/courses/course-v1:edX+Demo/?a=b#c"), nil)
		c := jar(got)["sessionid"]
		if got.status != 302 || got.header.Get("Location") != "/courses/course-v1:edX+Demo/?a=b#c" || c == nil || !c.HttpOnly || jar(got)["csrftoken"] == nil ||
			got.header.Get("Referrer-Policy") != "no-referrer" || strings.Contains(string(got.body), c.Value) || a.pages(c) != 200 {
			a.Fatalf("%d %v", got.status, got.header)
		}
		again := open(link, nil)
		a.exactly(again, 401, used)
		if again.header["Set-Cookie"] != nil || a.pages(c) != 200 {
			a.Errorf("the second use: %v", again.header)
		}
	})
	a.in("leads nowhere else", func(a attack) {
		link := a.sold(h.Access)
		for _, next := range []string{"https://evil.test/", "//evil.test/", `/\evil.test`, "evil", "javascript:alert(1)", "/\tx", "/" + strings.Repeat("x", 3000)} {
			a.exactly(open(link+"&next="+url.QueryEscape(next), nil), 400, `{"detail":"next must be a path of this host."}`)
		}
		a.exactly(open(link, http.Header{"Sec-Fetch-Site": {"cross-site"}}), 403, `{"detail":"A ticket is opened by the app that asked for it."}`)
		if got := open(link, http.Header{"Sec-Fetch-Site": {"none"}}); got.status != 302 || got.header.Get("Location") != "/" {
			a.Errorf("a refusal spent the ticket: %d %s", got.status, got.body)
		}
	})
	a.in("one of many", func(a attack) {
		link := a.sold(h.Access)
		var opened sync.Map
		var all sync.WaitGroup
		for i := range 8 {
			all.Go(func() {
				if got := open(link, nil); got.status == 302 {
					opened.Store(i, true)
				}
			})
		}
		all.Wait()
		n := 0
		opened.Range(func(any, any) bool { n++; return true })
		if n != 1 {
			a.Errorf("%d were let in", n)
		}
	})
	a.in("refused", func(a attack) {
		a.exactly(open("/oauth2/login/ticket", nil), 401, used)
		a.exactly(open("/oauth2/login/ticket?ticket=GUESSED", nil), 401, used)
		a.exactly(open("/oauth2/login/ticket?ticket="+strings.Repeat("A", 5000), nil), 401, used)
		a.exactly(a.app("/oauth2/login/ticket", nil), 401, `{"detail":"Authentication credentials were not provided."}`)
		if got := a.app("/oauth2/login/ticket", jwtHeader(a.learner("edx-no-pages").Access)); got.status != 401 || !strings.Contains(string(got.body), "non_supported_token") {
			a.Errorf("%d %s", got.status, got.body)
		}
	})
	a.in("dies with the device", func(a attack) {
		other := a.learner("demo-edx")
		link := a.sold(other.Access)
		a.app("/oauth2/revoke_token", nil, "token", other.Refresh, "client_id", "demo-edx")
		a.exactly(open(link, nil), 401, used)
	})
	a.in("lives a minute", func(a attack) {
		link := a.sold(a.learner("demo-edx").Access)
		a.clock.advance(61 * time.Second)
		a.exactly(open(link, nil), 401, used)
	})
}
