package server_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"holdfast.example/internal/server"
	"holdfast.example/internal/testsvc"
)

// behindNginx starts nginx before the house, with the configuration that
// docs/guide/operate.md recommends. It returns the address and whom to trust there.
func (a attack) behindNginx() (address string, trust *tls.Config) {
	a.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		a.Fatal(err)
	}
	address = l.Addr().String()
	guide, err := os.ReadFile("../../docs/guide/operate.md")
	if err != nil {
		a.Fatal(err)
	}
	_, config, _ := strings.Cut(string(guide), "```nginx\n")
	config, _, _ = strings.Cut(config, "```\n")
	for _, ours := range [][2]string{{"listen 443 ", "listen " + address + " "}, {"server 127.0.0.1:8420;", "server " + a.running() + ";"},
		{"/etc/ssl/id.example.com.pem", "certificate"}, {"/etc/ssl/private/id.example.com.key", "key"}} {
		if strings.Count(config, ours[0]) != 1 {
			a.Fatalf("the guide's configuration does not say %q once:\n%s", ours[0], config)
		}
		config = strings.Replace(config, ours[0], ours[1], 1)
	}
	certificate, key := selfSigned(a)
	testsvc.StartNginx(a, l.(*net.TCPListener), config, map[string][]byte{"certificate": certificate, "key": key})
	trust = &tls.Config{ServerName: "id.example.com", RootCAs: x509.NewCertPool()}
	trust.RootCAs.AppendCertsFromPEM(certificate)
	return address, trust
}

// selfSigned makes a certificate of the guide's host.
func selfSigned(t testing.TB) (certificate, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	about := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"id.example.com"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour)}
	signed, err := x509.CreateCertificate(rand.Reader, about, about, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: signed}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded})
}

// TestBehindNginx (HTTP-03, HTTP-04, HTTP-05, HTTP-06): nginx, as the guide sets it
// up, and the server see the same requests in whatever is sent: each one that the
// server hears is answered to whoever sent it, and nobody else's connection is
// touched. Phones speak HTTP/2 with nginx, and what they claim to be is not believed.
func TestBehindNginx(t *testing.T) {
	a := attack{t, forTest(t, func(c *server.Config) { c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")} })}
	address, trust := a.behindNginx()
	dial := func() (net.Conn, error) { return tls.Dial("tcp", address, trust) }
	// Answers of nginx itself say nothing about caching; all of ours do.
	ours := func(all []answer) (n uint64) {
		for _, one := range all {
			if one.header.Get("Cache-Control") != "" {
				n++
			}
		}
		return n
	}
	for _, s := range smuggling() {
		if s.name == "line, HTTP/0.9" {
			continue // nginx refuses it in kind, without a status line
		}
		a.in("HTTP-04 "+s.name, func(a attack) {
			before := a.server.Served()
			all := a.exchanged(dial, s.sent)
			if heard := a.server.Served() - before; heard != ours(all) {
				a.Errorf("the server heard %d requests, and %d of its answers came back", heard, ours(all))
			}
			if strings.HasPrefix(s.name, "honest") && len(all) != 3 {
				a.Errorf("%d honest requests are answered", len(all))
			}
			for range 2 { // on the connections that nginx keeps with the server
				before := a.server.Served()
				next := a.exchanged(dial, last)
				if heard := a.server.Served() - before; heard != 1 || len(next) != 1 || next[0].status != 200 || string(next[0].body) != `{"status":"ok"}` {
					a.Errorf("somebody else asks how the server is, %d requests are heard, and he gets %v", heard, next)
				}
			}
		})
	}
	phone := &http.Client{Timeout: guard, Transport: &http.Transport{TLSClientConfig: trust, ForceAttemptHTTP2: true, DisableCompression: true}}
	defer phone.CloseIdleConnections()
	a.in("HTTP-03 HTTP/2 ends at the proxy", func(a attack) {
		r, err := http.NewRequest("GET", "https://"+address+"/oauth2/jwks", http.NoBody)
		if err != nil {
			a.Fatal(err)
		}
		r.Header.Set("X-Forwarded-For", "9.9.9.9")
		r.Header.Set("X-Forwarded-Host", "evil.example")
		res, err := phone.Do(r)
		if err != nil {
			a.Fatal(err)
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil || res.ProtoMajor != 2 || res.StatusCode != 200 || !strings.Contains(string(body), `"keys"`) {
			a.Errorf("%s %s %v %s", res.Proto, res.Status, err, body)
		}
		if log := a.log.String(); strings.Contains(log, "9.9.9.9") || !strings.Contains(log, `"from":"127.0.0.1"`) {
			a.Error("what the caller says about its address is believed")
		}
	})
}
