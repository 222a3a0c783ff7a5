package verify

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
)

// checkURL refuses, at start, an address of the issuer that a stranger on the
// way could answer for.
func checkURL(field, text string, allowHTTP bool) error {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil {
		return fmt.Errorf("verify: %s must be a full URL without user name, as https://id.example.com/path", field)
	}
	switch {
	case u.Scheme == "https":
		return nil
	case u.Scheme != "http":
		return fmt.Errorf("verify: %s must be https", field)
	case allowHTTP || loopback(u.Hostname()):
		return nil
	}
	return fmt.Errorf("verify: %s is http on a host that is not loopback; use https, or set AllowHTTP on a network that encrypts below", field)
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// boundClient returns a client that follows no redirect (the configured
// address is the only one we trust) and always gives up in time.
func boundClient(given *http.Client) *http.Client {
	c := &http.Client{}
	if given != nil {
		*c = *given
	}
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	if c.Timeout == 0 || c.Timeout > fetchTimeout {
		c.Timeout = fetchTimeout
	}
	return c
}
